"""Jobs end to end: a real Open MPI over a real master, through the commands that users type.

`master` is each master there is: `local` (a cluster of the run's own), and the real Mesos of ROUJIAMO_TEST_MASTER.
`bench` runs the commands in a temporary folder of their own, and afterwards nothing of them may be left.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.local.conftest import cluster
from tests.support import (
    MASTERS,
    OpenMpi,
    Program,
    mpi_environment,
    open_mpis,
    processes_with,
    real_mesos,
    running,
    scaled,
    until,
)

ROOT = Path(__file__).resolve().parents[2]
MARKER = "ROUJIAMO_TEST_RUN"


@dataclass
class Result:
    """What a finished command has given."""

    status: int
    out: str
    err: str


class Bench:
    """Runs commands of the checkout; knows everything that they have started by a variable in its environment."""

    def __init__(self, folder: Path, mpi: OpenMpi | None) -> None:
        self.folder = folder
        self.mark = uuid.uuid4().hex
        self.mpi = mpi
        self.environment = {
            **mpi_environment(),
            "TMPDIR": str(folder),
            MARKER: self.mark,
            "XDG_RUNTIME_DIR": "",
        }
        if mpi is not None:
            self.environment["ROUJIAMO_MPIEXEC"] = mpi.mpiexec

    def ompirun(self, *arguments: str, stdin: str = "", seconds: float = 90) -> Result:
        """Run bin/ompirun.sh to its end."""
        done = subprocess.run(
            [ROOT / "bin" / "ompirun.sh", "--env", f"{MARKER}={self.mark}", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=scaled(seconds),
            env={**os.environ, **self.environment},
            cwd=self.folder,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def alloc(self, *arguments: str, stdin: str = "", path: str = "", seconds: float = 90) -> Result:
        """Run `roujiamo alloc` to its end, with the folder `path` first on PATH."""
        done = subprocess.run(
            [sys.executable, "-m", "roujiamo", "alloc", "--env", f"{MARKER}={self.mark}", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=scaled(seconds),
            env={
                **os.environ,
                **self.environment,
                "PATH": os.pathsep.join(filter(None, [path, os.environ["PATH"]])),
                "PYTHONPATH": str(ROOT),
            },
            cwd=self.folder,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    @contextlib.contextmanager
    def started(self, *arguments: str, **popen: object) -> Iterator[Program]:
        """Run bin/ompirun.sh in the background."""
        line = [str(ROOT / "bin" / "ompirun.sh"), "--env", f"{MARKER}={self.mark}", *arguments]
        with running(line, environment=self.environment, cwd=self.folder, **popen) as program:
            yield program

    def left_processes(self) -> list[str]:
        """The processes that carry the mark, tasks' included."""
        return processes_with(MARKER, self.mark)

    def left_files(self) -> list[str]:
        """What lies in the temporary folder."""
        return [str(path.relative_to(self.folder)) for path in self.folder.rglob("*")]

    def assert_nothing_left(self) -> None:
        """No process, socket, folder, or framework."""
        until(lambda: not self.left_processes(), 15, f"an end of {self.left_processes()}")
        assert self.left_files() == []
        sockets = Path("/proc/net/unix").read_text()
        assert str(self.folder) not in sockets
        address = real_mesos()
        if address is not None:
            until(lambda: active_frameworks(address) == [], 10, "the framework's end on the real master")


def active_frameworks(master: str) -> list[str]:
    """The names of our active frameworks on a master."""
    with urllib.request.urlopen(f"http://{master}/frameworks", timeout=scaled(10)) as answer:
        frameworks = json.load(answer)["frameworks"]
    return [each["name"] for each in frameworks if each["active"] and each["name"].startswith("roujiamo ")]


@pytest.fixture(params=MASTERS)
def master(request: pytest.FixtureRequest) -> str:
    """The MASTER argument of each master there is."""
    return str(real_mesos()) if request.param == "real" else str(request.param)


@pytest.fixture(scope="module", params=["local", "real"])
def three_agents(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a master with three agents; the local one's have attributes."""
    if request.param == "local":
        with cluster("--agents", "3", "--attributes", "zone:a;rack:r1") as one:
            yield one.address
        return
    address = real_mesos()
    if address is None:
        pytest.skip("no real Mesos (ROUJIAMO_TEST_MASTER)")
    yield address


def bench_around(mpi: OpenMpi | None) -> Iterator[Bench]:
    """A bench, and afterwards a look that nothing is left."""
    # Not tmp_path: a unix socket's address must fit.
    folder = Path(tempfile.mkdtemp(prefix="rj-"))
    bench = Bench(folder, mpi)
    try:
        yield bench
        bench.assert_nothing_left()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A bench with the oldest Open MPI: what is tested once is tested where the launcher has the fewest faults."""
    if not open_mpis():
        pytest.skip("no Open MPI on this machine (bin/test brings it, ROUJIAMO_TEST_OPENMPI names one)")
    yield from bench_around(open_mpis()[0])


@pytest.fixture(params=open_mpis() or [None], ids=lambda mpi: f"openmpi-{mpi.version}" if mpi else "none")
def bench_of_each(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A bench with each Open MPI there is."""
    if request.param is None:
        pytest.skip("no Open MPI on this machine (bin/test brings it, ROUJIAMO_TEST_OPENMPI names one)")
    yield from bench_around(request.param)
