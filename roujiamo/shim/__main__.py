"""Where `bin/roujiamo-rsh` enters Python, with -I -S and so without any path to the package.

Runs in the shim. Python compiles this file anew at each start and keeps no bytecode of it, so it is short; and any
Python 3 may be asked to run it, so its own syntax is the oldest.
"""

import sys

if sys.version_info < (3, 6):
    sys.stderr.write(
        "roujiamo-rsh: %s is Python %d.%d; set ROUJIAMO_PYTHON to a Python 3.6 or newer\n"
        % (sys.executable, sys.version_info[0], sys.version_info[1])
    )
    sys.exit(255)

import posix

MYPY = False
if MYPY:
    # The C module has no type stub.
    import signal as _signal
else:
    import _signal

# Until there are handlers, Ctrl-C ends this process as it would ssh, not with a traceback.
if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

# Last, not first: what lies beside the package in a site-packages folder is never to be taken for Python's own.
sys.path.append(__file__[: -len("/roujiamo/shim/__main__.py")] or "/")

from roujiamo.shim.program import main  # noqa: E402 the path had to be there first

# Nothing of ours is buffered, and an orderly end of the interpreter costs 2 to 3 ms, a sixth of the whole start.
posix._exit(main(sys.argv[1:]))
