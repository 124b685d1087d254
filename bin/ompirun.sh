#!/bin/sh
# ompirun.sh [options] MASTER PROGRAM [ARGS...]: the short form of `roujiamo run`; ompirun.sh --help tells the rest.
# It only finds an interpreter that has the package: this checkout's, or the one roujiamo is installed for.
self=$0
while [ -L "$self" ]; do
    link=$(readlink "$self")
    case $link in
        /*) self=$link ;;
        *) self=${self%/*}/$link ;;
    esac
done
case $self in
    */*) here=${self%/*} ;;
    *) here=. ;;
esac
start='import sys; sys.path[0] = sys.argv[1]; del sys.argv[1]
from roujiamo.cli import ompirun_main; sys.exit(ompirun_main())'
if [ -f "$here/../roujiamo/cli/__init__.py" ]; then
    python=${ROUJIAMO_PYTHON:-$here/../.venv/bin/python3}
    [ -x "$python" ] || python=python3
    exec "$python" -c "$start" "$here/.." "$@"
fi
for python in ${ROUJIAMO_PYTHON:+"$ROUJIAMO_PYTHON"} "$here/python3" "$here/python" python3; do
    command -v "$python" >/dev/null 2>&1 && exec "$python" -c "$start" "" "$@"
done
echo "ompirun.sh: no python3 here; install Python 3.11 or later, or name one in ROUJIAMO_PYTHON" >&2
exit 127
