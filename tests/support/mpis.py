"""Every MPI to test with, whatever its family.

Imported by the test process only. `ROUJIAMO_TEST_MPIEXECS` (mpiexec paths, colon-separated) names them; else they are
the Open MPIs of `tools`, and the MPICH and Intel MPI that bin/test put beside its venv.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from roujiamo import dialects
from tests.support.tools import ROOT, open_mpis


class Mpi(NamedTuple):
    """One installed MPI: the name of its dialect, its version, its mpiexec, and the folder that it is in."""

    name: str
    version: str
    mpiexec: str

    @property
    def prefix(self) -> str:
        """The folder with its bin and lib."""
        return str(Path(self.mpiexec).parents[1])

    @property
    def dialect(self) -> dialects.Dialect:
        """The dialect of that name."""
        return next(dialect for dialect in dialects.KNOWN if dialect.name == self.name)

    @property
    def is_open_mpi(self) -> bool:
        """Of either major version."""
        return self.name.startswith("Open MPI")


@functools.cache
def mpis() -> tuple[Mpi, ...]:
    """Every MPI there is, one of each version."""
    named = os.environ.get("ROUJIAMO_TEST_MPIEXECS")
    if named:
        candidates = named.split(":")
    else:
        candidates = [mpi.mpiexec for mpi in open_mpis()]
        for folder in (Path(sys.prefix), *sorted(ROOT.glob(".venv*"))):
            for package in ("mpich", "impi-rt"):
                candidates += map(str, sorted(folder.glob(f"{package}-*/bin/mpiexec")))
    found: dict[tuple[str, str], Mpi] = {}
    for mpiexec in candidates:
        answer = subprocess.run(
            [mpiexec, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
        )
        dialect = dialects.find(answer.stdout)
        version = re.search(r"\d+(\.\d+)+", answer.stdout)
        if dialect is not None and version is not None:
            found.setdefault((dialect.name, version.group()), Mpi(dialect.name, version.group(), mpiexec))
    return tuple(found.values())


def without_open_mpis_race(errors: str) -> str:
    """Return stderr without Open MPI's word on a race of its own: it puts an agent into a process group after its exec.

    Where the agent was the faster one, plm_rsh_module.c warns that setpgid failed, and goes on.
    """
    return re.sub(r"^\[.*plm:rsh: Warning: setpgid.*\n", "", errors, flags=re.MULTILINE)
