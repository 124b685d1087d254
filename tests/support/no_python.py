"""A local cluster whose agents have no python3, as a bare agent may be.

Imported by the test process only. The cluster runs in a mount namespace of its own (mount_namespaces(7)), in which the
folders of the agents' PATH are overlaid without it; that takes root.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.programs import running

READY = "roujiamo local cluster (for trying and testing, not for production): master "

# $1 is an empty folder; the rest is the command. /usr/libexec/platform-python is RHEL's.
_HIDE = """\
set -e
mount -t tmpfs none "$1"
count=0
for folder in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin; do
    [ -e $folder/python3 ] || continue
    count=$((count + 1))
    mkdir "$1/upper$count" "$1/work$count"
    mount -t overlay none -o "lowerdir=$folder,upperdir=$1/upper$count,workdir=$1/work$count" $folder
    rm $folder/python3
done
[ ! -e /usr/libexec/platform-python ] || mount --bind /dev/null /usr/libexec/platform-python
shift
exec "$@"
"""


@contextlib.contextmanager
def cluster_without_python3(folder: Path, agents: int) -> Iterator[str]:
    """The address of its master. Skips the test where there can be no such cluster."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to take python3 from the agents")
    hidden = folder / "hidden"
    hidden.mkdir()
    inside = ["unshare", "--mount", "sh", "-c", _HIDE, "sh", str(hidden)]
    # Where Python itself cannot start any more in there, the tests' own lies in one of these folders under that name.
    tried = subprocess.run([*inside, sys.executable, "-c", "print(1)"], capture_output=True)
    if tried.returncode:
        pytest.skip(f"no folder can be overlaid here: {tried.stderr.decode().strip()}")
    command = [sys.executable, "-m", "roujiamo.local", "--port", "0", "--agents", str(agents)]
    with running([*inside, *command], ready=READY) as program:
        yield program.ready_line.removeprefix(READY).partition(",")[0]
