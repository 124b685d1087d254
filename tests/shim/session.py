"""A session for the shim's tests, and the shim as a user runs it: through bin/roujiamo-rsh.

Imported by the test process only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tests.support import Program, running

ROOT = Path(__file__).resolve().parents[2]
RSH = str(ROOT / "bin" / "roujiamo-rsh")


def serving(address: str, **environment: str) -> AbstractContextManager[Program]:
    """Return a context in which a server of its own listens on `address`."""
    return running(
        [sys.executable, "-m", "tests.shim.server", address], ready="ready", cwd=ROOT, environment=environment
    )


def environment_of(address: str | None, python: str = sys.executable, **more: str) -> dict[str, str]:
    """Return the environment of a shim in the session at `address`."""
    environment = {**os.environ, "ROUJIAMO_PYTHON": python, **more}
    if address is not None:
        environment["ROUJIAMO_SOCKET"] = address
    return environment


def rsh(
    address: str | None, *words: str | bytes, python: str = sys.executable, **run: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run the shim to its end and return what it did."""
    run.setdefault("env", environment_of(address, python))
    run.setdefault("timeout", 60)
    if "input" not in run:
        run.setdefault("stdin", subprocess.DEVNULL)
    run.setdefault("stdout", subprocess.PIPE)
    run.setdefault("stderr", subprocess.PIPE)
    return subprocess.run([RSH, *words], check=False, **run)


def starting(address: str, *words: str, **popen: Any) -> AbstractContextManager[Program]:
    """Return a context in which the shim runs. `ready`: a line of its stdout to wait for."""
    ready = popen.pop("ready", None)
    environment = environment_of(address, **popen.pop("environment", {}))
    return running([RSH, *words], ready=ready, environment=environment, **popen)


def package_at(folder: Path) -> Path:
    """Put the part of the package that the shim needs into `folder`."""
    for name in ("shim", "protocol"):
        shutil.copytree(
            ROOT / "roujiamo" / name,
            folder / "roujiamo" / name,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    for name in ("__init__.py", "errors.py"):
        shutil.copy(ROOT / "roujiamo" / name, folder / "roujiamo" / name)
    return folder


def entry_at(folder: Path) -> Path:
    """Install bin/roujiamo-rsh into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(RSH, folder / "roujiamo-rsh")
    return folder / "roujiamo-rsh"
