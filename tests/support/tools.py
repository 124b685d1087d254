"""The tools of this machine that the tests use: Open MPI, an old Python, a real Mesos.

Imported by the test process only. Each is looked for where a user would have it, and by an environment variable:
ROUJIAMO_TEST_OPENMPI (mpiexec paths, colon-separated), ROUJIAMO_TEST_PYTHON36, ROUJIAMO_TEST_MASTER (host:port).
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]


class OpenMpi(NamedTuple):
    """One installed Open MPI."""

    version: str
    mpiexec: str

    @property
    def major(self) -> int:
        """4 (orted) or 5 (prted)."""
        return int(self.version.partition(".")[0])


@functools.cache
def open_mpis() -> tuple[OpenMpi, ...]:
    """Every Open MPI to test with, lowest version first, one of each version.

    From ROUJIAMO_TEST_OPENMPI where it is set; else those that bin/test put beside its venv, and mpiexec on PATH.
    """
    named = os.environ.get("ROUJIAMO_TEST_OPENMPI")
    if named:
        candidates = named.split(":")
    else:
        folders = [Path(sys.prefix), *sorted(ROOT.glob(".venv*"))]
        candidates = [
            str(path) for folder in folders for path in sorted(folder.glob("openmpi-*/bin/mpiexec"))
        ]
        candidates += filter(None, [shutil.which("mpiexec")])
    found: dict[str, OpenMpi] = {}
    for mpiexec in candidates:
        version = _open_mpi_version(mpiexec)
        if version:
            found.setdefault(version, OpenMpi(version, mpiexec))
    return tuple(sorted(found.values(), key=lambda mpi: [int(part) for part in mpi.version.split(".")]))


def _open_mpi_version(mpiexec: str) -> str | None:
    try:
        answer = subprocess.run(
            [mpiexec, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
        )
    except OSError:
        return None
    # Open MPI 4 may name its run-time layer instead.
    match = re.search(r"\((?:Open MPI|OpenRTE)\) (\d+(?:\.\d+)+)", answer.stdout)
    return match and match.group(1)


def mpi_environment() -> dict[str, str]:
    """What an mpiexec needs in its environment here: Open MPI refuses root unless told twice."""
    if os.getuid() != 0:
        return {}
    return {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


@functools.cache
def python36() -> str | None:
    """The path of a working Python 3.6: named, on PATH, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [
        os.environ.get("ROUJIAMO_TEST_PYTHON36"),
        *map(str, sorted(pyenv.glob("versions/3.6.*/bin/python3.6"))),
        shutil.which("python3.6"),
    ]
    for candidate in filter(None, candidates):
        # pyenv's shim is on PATH even where its version is not selected, and fails then: ask it.
        try:
            answer = subprocess.run(
                [candidate, "-c", "import sys; print(sys.version_info[:2] == (3, 6) and sys.executable)"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
            )
        except OSError:
            continue
        if answer.returncode == 0 and answer.stdout.startswith("/"):
            return answer.stdout.strip()
    return None


def keep_settings_away() -> None:
    """Keep the settings of the caller's shell and machine away from the programs that are tested."""
    for name in list(os.environ):
        if name.startswith("ROUJIAMO_") and not name.startswith("ROUJIAMO_TEST_"):
            del os.environ[name]
    # Nor is a configuration of the user's or of the machine's read.
    os.environ["ROUJIAMO_CONFIG"] = os.devnull
    # Users' machines keep compiled modules; without, each program that a test starts compiles the whole package anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # The scripts in bin/ prefer the clone's .venv: what is tested is the interpreter that runs the tests.
    os.environ["ROUJIAMO_PYTHON"] = sys.executable


def real_mesos() -> str | None:
    """The address (host:port) of a real Mesos master to test against, where one is named."""
    return os.environ.get("ROUJIAMO_TEST_MASTER") or None


on_demand = pytest.mark.skipif(
    os.environ.get("ROUJIAMO_TEST_FAULTS", "") != "1",
    reason="plays faults for minutes: on demand, ROUJIAMO_TEST_FAULTS=1",
)
requires_python36 = pytest.mark.skipif(
    python36() is None, reason="no Python 3.6 on this machine (ROUJIAMO_TEST_PYTHON36 names one)"
)
requires_open_mpi = pytest.mark.skipif(
    not open_mpis(),
    reason="no Open MPI on this machine (bin/test brings it, ROUJIAMO_TEST_OPENMPI names one)",
)
requires_real_mesos = pytest.mark.skipif(
    real_mesos() is None, reason="no real Mesos named (ROUJIAMO_TEST_MASTER=host:port)"
)

# What a fixture over each master there is takes as its parameters: `local` is a cluster of the job's own.
MASTERS = ["local", pytest.param("real", marks=requires_real_mesos)]
