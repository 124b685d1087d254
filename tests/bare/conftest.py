"""Plain mpiexec with ROUJIAMO_MASTER set and no wrapper: every launcher, a shared local cluster, the real Mesos.

A bench runs commands in a temporary folder of their own, and afterwards nothing of them may be left.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.jobs.conftest import MARKER, active_frameworks
from tests.local.conftest import cluster
from tests.support import (
    MASTERS,
    Program,
    mpi_environment,
    mpis,
    processes_with,
    real_mesos,
    running,
    scaled,
    until,
)

ROOT = Path(__file__).resolve().parents[2]


class Launcher(NamedTuple):
    """One installed mpiexec, and the words with which its user names the agent and the hosts."""

    name: str
    mpiexec: str
    agent: tuple[str, ...]
    hosts: str  # the option
    rank: str  # the variable that holds a rank's number
    one_each: tuple[
        str, ...
    ] = ()  # what makes it put one process on each host, as the others do by themselves


def launchers() -> list[Launcher]:
    """Every launcher there is, and Open MPI 5's by each of its own names for the agent."""
    open_mpi = ("--mca", "plm_rsh_agent", "roujiamo-rsh")
    prrte = ("--prtemca", "plm_ssh_agent", "roujiamo-rsh")
    rank = "OMPI_COMM_WORLD_RANK"
    found = []
    for mpi in mpis():
        if mpi.is_open_mpi:
            found.append(Launcher(f"openmpi-{mpi.version}", mpi.mpiexec, open_mpi, "-H", rank))
        if mpi.name == "Open MPI 5":
            found.append(Launcher(f"prrte-of-{mpi.version}", mpi.mpiexec, prrte, "-H", rank))
        if mpi.name == "MPICH":
            agent = ("-launcher", "ssh", "-launcher-exec", "roujiamo-rsh")
            found.append(Launcher("mpich", mpi.mpiexec, agent, "-hosts", "PMI_RANK"))
        if mpi.name == "Intel MPI":
            agent = ("-bootstrap", "rsh", "-bootstrap-exec", "roujiamo-rsh")
            found.append(Launcher("intel", mpi.mpiexec, agent, "-hosts", "PMI_RANK", ("-ppn", "1")))
    return found


class Result(NamedTuple):
    """What a finished command has given."""

    status: int
    out: str
    err: str

    def hosts(self) -> dict[int, str]:
        """The host of each rank that has printed `rank N on HOST in SANDBOX`."""
        return {
            int(rank): host
            for rank, host in re.findall(r"^rank (\d+) on (\S+) in /\S+$", self.out, re.MULTILINE)
        }


class Bench:
    """Runs plain launchers and plain shims; knows everything that they have started by a variable."""

    def __init__(self, folder: Path, master: str, launcher: Launcher | None) -> None:
        self.folder = folder
        self.master = master
        self.launcher = launcher
        self.mark = uuid.uuid4().hex
        self.environment = {
            **mpi_environment(),
            "PATH": f"{ROOT / 'bin'}:{os.environ['PATH']}",
            "TMPDIR": str(folder),
            "XDG_RUNTIME_DIR": "",
            "ROUJIAMO_PYTHON": sys.executable,
            "ROUJIAMO_MASTER": master,
            "ROUJIAMO_ENV": f"{MARKER}={self.mark}",
            MARKER: self.mark,
        }

    def line(self, hosts: str, *program: str, options: tuple[str, ...] = ()) -> list[str]:
        """An mpiexec's command line as its user would write it."""
        launcher = self.launcher
        assert launcher is not None
        return [
            launcher.mpiexec,
            *launcher.agent,
            *launcher.one_each,
            *options,
            launcher.hosts,
            hosts,
            *program,
        ]

    def where(self, hosts: str, options: tuple[str, ...] = (), **environment: str) -> Result:
        """Have each rank print where it is."""
        assert self.launcher is not None
        # prterun 5.0.11 hangs now and then where all ranks end within a moment of their start, with any rsh agent.
        script = f'echo "rank ${self.launcher.rank} on $(hostname) in $MESOS_SANDBOX"; sleep 0.3'
        return self.run(*self.line(hosts, "sh", "-c", script, options=options), **environment)

    def run(self, *line: str, seconds: float = 90, **environment: str) -> Result:
        """Run a command to its end."""
        done = subprocess.run(
            line,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=scaled(seconds),
            env={**os.environ, **self.environment, **environment},
            cwd=self.folder,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    @contextlib.contextmanager
    def started(self, *line: str, **popen: object) -> Iterator[Program]:
        """Run a command in the background."""
        with running(line, environment=self.environment, cwd=self.folder, **popen) as program:
            yield program

    def left_processes(self) -> list[str]:
        """The processes that carry the mark, tasks' included."""
        return processes_with(MARKER, self.mark)

    def processes(self, pattern: str) -> list[int]:
        """The pids of those whose command line has `pattern` in it."""
        return [int(each.partition(" ")[0]) for each in self.left_processes() if pattern in each]

    def left_files(self) -> list[str]:
        """What of ours lies in the temporary folder (launchers leave what they like)."""
        return [
            str(path.relative_to(self.folder))
            for each in self.folder.glob("roujiamo*")
            for path in (each, *each.rglob("*"))
        ]

    def assert_nothing_left(self) -> None:
        """No process, socket, folder, or framework."""
        until(lambda: not self.left_processes(), 20, f"an end of {self.left_processes()}")
        until(lambda: not self.left_files(), 5, f"an end of {self.left_files()}")
        assert str(self.folder) not in Path("/proc/net/unix").read_text()
        until(lambda: self.frameworks() == [], 10, "the framework's end")

    def frameworks(self) -> list[str]:
        """The names of our active frameworks on the master."""
        return active_frameworks(self.master)


def names_of(master: str) -> list[str]:
    """The names of a master's agents."""
    with urllib.request.urlopen(f"http://{master}/slaves", timeout=scaled(10)) as answer:
        return sorted(each["hostname"] for each in json.load(answer)["slaves"])


@contextlib.contextmanager
def bench_with(master: str, launcher: Launcher | None) -> Iterator[Bench]:
    """A bench whose end proves that nothing is left."""
    # Not tmp_path: a unix socket's address must fit.
    folder = Path(tempfile.mkdtemp(prefix="rj-"))
    bench = Bench(folder, master, launcher)
    try:
        yield bench
        bench.assert_nothing_left()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def local_master() -> Iterator[str]:
    """A cluster of three agents for all tests that do it no harm."""
    with cluster("--agents", "3") as one:
        yield one.address


@pytest.fixture(params=MASTERS)
def master(request: pytest.FixtureRequest, local_master: str) -> str:
    """Each master there is: host:port."""
    return str(real_mesos()) if request.param == "real" else local_master


NONE = "no MPI on this machine (bin/test brings some)"


@pytest.fixture(params=launchers() or [None], ids=lambda each: each.name if each else "none")
def launcher(request: pytest.FixtureRequest) -> Launcher:
    """Each launcher there is."""
    if request.param is None:
        pytest.skip(NONE)
    return request.param  # type: ignore[no-any-return]


# Not each way to name the agent: that is tested once.
ONE_EACH = list({each.mpiexec: each for each in reversed(launchers())}.values())[::-1]


@pytest.fixture(params=ONE_EACH or [None], ids=lambda each: each.name if each else "none")
def bench_of_each(request: pytest.FixtureRequest, local_master: str) -> Iterator[Bench]:
    """A bench with each MPI there is, on the local cluster."""
    if request.param is None:
        pytest.skip(NONE)
    with bench_with(local_master, request.param) as bench:
        yield bench


@pytest.fixture
def bench(local_master: str) -> Iterator[Bench]:
    """A bench with the oldest Open MPI, on the local cluster: what is tested once."""
    if not launchers():
        pytest.skip(NONE)
    with bench_with(local_master, launchers()[0]) as bench:
        yield bench


@pytest.fixture
def bench_by_hand(local_master: str) -> Iterator[Bench]:
    """A bench without a launcher."""
    with bench_with(local_master, None) as bench:
        yield bench
