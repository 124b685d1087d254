"""What a start of the shim costs and answers: the modules that it loads, --help, --version."""

from __future__ import annotations

import subprocess
import sys

import pytest

import roujiamo
from tests.shim.session import ROOT, environment_of, rsh
from tests.support import python36

MAIN = str(ROOT / "roujiamo" / "shim" / "__main__.py")

# What Python itself has loaded before the first line of ours, under -I -S, differs from version to version.
OURS = {
    "roujiamo",
    "roujiamo.errors",
    "roujiamo.protocol",
    "roujiamo.protocol.channel",
    "roujiamo.protocol.fields",
    "roujiamo.protocol.frames",
    "roujiamo.protocol.rsh",
    "roujiamo.shim",
    "roujiamo.shim.launcher",
    "roujiamo.shim.program",
    "roujiamo.shim.relay",
    "roujiamo.shim.session",
    "roujiamo.shim.signals",
    "roujiamo.shim.streams",
}
PYTHONS_OWN = {"_socket", "_struct", "errno", "gc", "select", "time"}


# Ask what has been loaded where the process would end: modules out of the store are no imports of Python's.
_TOLD_AT_THE_END = """
import posix, sys
before = set(sys.modules)
def end(status):
    sys.stderr.write(" ".join([str(status), *sorted(set(sys.modules) - before)]))
    sys.stderr.flush()
    leave(status)
leave, posix._exit = posix._exit, end
__file__ = sys.argv[1]
del sys.argv[1]
exec(compile(open(__file__).read(), __file__, "exec"))
"""


def test_a_run_loads_these_modules_and_no_other(server: str) -> None:
    """Each further one is time that a launcher pays once a host; asyncio alone would be four times all of this."""
    # The first start of all writes the modules' store, for the others.
    rsh(server, "host", "true")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _TOLD_AT_THE_END, MAIN, "host", "echo hi"],
        env=environment_of(server),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    status, *loaded = done.stderr.split()
    assert status == "0"
    assert set(loaded) - PYTHONS_OWN == OURS


@pytest.mark.skipif(python36() is None, reason="no Python 3.6 on this machine")
def test_on_python_36_neither(server: str) -> None:
    """3.6 has no importtime, so it is asked when it has run."""
    script = (
        "import sys; before = set(sys.modules); sys.argv[1:] = ['host', 'true']; "
        f"sys.path.append({str(ROOT)!r}); from roujiamo.shim.program import main; status = main(sys.argv[1:]); "
        "print(status, *sorted(set(sys.modules) - before), file=sys.stderr)"
    )
    done = subprocess.run(
        [str(python36()), "-I", "-S", "-c", script],
        env=environment_of(server),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    # stdout is closed when the command's is.
    status, *loaded = done.stderr.split()
    assert status == "0"
    assert set(loaded) - PYTHONS_OWN == OURS


def test_help_names_every_setting_and_status() -> None:
    """It is the only manual where there is no other."""
    done = rsh(None, "--help")
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode()
    assert text.startswith("usage: roujiamo-rsh ")
    assert all(len(line) <= 80 for line in text.splitlines())
    for word in (
        "ROUJIAMO_SOCKET",
        "ROUJIAMO_TOKEN",
        "ROUJIAMO_TIMEOUT",
        "ROUJIAMO_PYTHON",
        "255",
        "141",
        "-n",
        "-f",
    ):
        assert word in text


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version_is_the_packages(option: str, python: str) -> None:
    """-V is ssh's."""
    done = rsh(None, option, python=python)
    assert (done.stdout, done.returncode) == (f"roujiamo-rsh {roujiamo.__version__}\n".encode(), 0)
