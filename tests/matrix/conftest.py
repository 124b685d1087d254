"""Hosts for the matrix: a local cluster whose agents have addresses of their own where that is possible.

As root each agent lives in a network namespace, and jobs are launched from another one; else all share loopback.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.jobs.conftest import MARKER, ROOT, Result
from tests.matrix import networks
from tests.support import Mpi, mpi_environment, mpis, processes_with, running, scaled, until

LOCAL = [sys.executable, "-m", "roujiamo", "local"]


@dataclass
class Hosts:
    """A cluster, and the place to launch from. `run` runs a command there; `mark` is in all that it starts."""

    master: str
    inside: Sequence[str]
    folder: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def run(self, *line: str, mpi: Mpi, stdin: str = "", seconds: float = 60, **variables: str) -> Result:
        """Run a command to its end, with the bench's bin and the MPI's on PATH, as its user would have them."""
        path = f"{ROOT / 'bin'}:{mpi.prefix}/bin:{os.environ['PATH']}"
        environment = {**os.environ, **mpi_environment(), "PATH": path, "PYTHONPATH": str(ROOT)}
        environment.update(
            {
                MARKER: self.mark,
                "TMPDIR": str(self.folder),
                "XDG_RUNTIME_DIR": "",
                "ROUJIAMO_PYTHON": sys.executable,
            }
        )
        process = subprocess.Popen(
            [*self.inside, *line],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**environment, **variables},
            cwd=self.folder,
        )
        try:
            out, err = process.communicate(stdin, scaled(seconds))
        except subprocess.TimeoutExpired:
            process.terminate()
            out, err = process.communicate(timeout=scaled(60))
            raise AssertionError(f"not over in time: {line}\n{out}\n{err}") from None
        return Result(process.returncode, out, err)

    def roujiamo(
        self, command: str, *arguments: str, mpi: Mpi, stdin: str = "", seconds: float = 60, **variables: str
    ) -> Result:
        """`roujiamo run` or `alloc` on this cluster; --prefix, because the MPIs lie beside the ranks' Python."""
        options = ["--master", self.master, "--prefix", mpi.prefix, "--env", f"{MARKER}={self.mark}"]
        line = [sys.executable, "-m", "roujiamo", command, *options]
        if command == "run":
            line += ["--mpiexec", mpi.mpiexec]
        return self.run(*line, *arguments, mpi=mpi, stdin=stdin, seconds=seconds, **variables)

    def left_processes(self) -> list[str]:
        """The processes that carry the mark."""
        return processes_with(MARKER, self.mark)


@contextlib.contextmanager
def cluster(*options: str, inside: Sequence[str] = (), agents_mark: str | None = None) -> Iterator[Hosts]:
    """A local cluster, and a folder for jobs, for the time of a with-block; afterwards nothing of the jobs is left."""
    line = [*inside, *LOCAL, "--port", "0", *options]
    folder = Path(tempfile.mkdtemp(prefix="rj-"))
    try:
        with running(line, ready="master ", environment={"PYTHONPATH": str(ROOT)}, seconds=60) as program:
            master = program.ready_line.partition("master ")[2].partition(",")[0]
            hosts = Hosts(master, inside, folder)
            yield hosts
            until(lambda: not hosts.left_processes(), 20, f"an end of {hosts.left_processes()}")
            assert [str(path) for path in folder.rglob("*")] == []
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def hosts() -> Iterator[Hosts]:
    """Three hosts with addresses of their own (and a docker0 that leads nowhere) as root; else on loopback."""
    if networks.why_not() is not None:
        with cluster("--agents", "3") as shared:
            yield shared
        return
    with networks.network(3) as network:
        inside = ["ip", "netns", "exec", network.launch]
        spaces = [word for name in network.agents for word in ("--netns", name)]
        with cluster("--host", network.address, *spaces, inside=inside) as several:
            yield several


@pytest.fixture(params=mpis() or [None], ids=lambda mpi: f"{mpi.name} {mpi.version}" if mpi else "none")
def mpi(request: pytest.FixtureRequest) -> Mpi:
    """Each MPI there is."""
    if request.param is None:
        pytest.skip("no MPI on this machine (bin/test brings four, ROUJIAMO_TEST_MPIEXECS names some)")
    found: Mpi = request.param
    return found
