"""Links that go down, and ways that lead nowhere, under a real job: three hosts in network namespaces of their own.

What a relay cannot do: no end is told, the kernels go on sending, and MPI's own connections suffer the same.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from roujiamo.broker.proxies import LAST_TRY_SECONDS, PINGS
from tests.jobs.conftest import MARKER, ROOT
from tests.matrix import networks
from tests.matrix.conftest import Hosts, cluster
from tests.matrix.networks import Network
from tests.support import (
    Mpi,
    Program,
    mpi_environment,
    mpis,
    on_demand,
    running,
    scaled,
    until,
    without_open_mpis_race,
)

SUMS = [sys.executable, str(ROOT / "tests" / "masters" / "sums.py")]
STREAM = [sys.executable, str(Path(__file__).with_name("stream.py"))]
KEEPALIVE_SECONDS = 2.0
GRACE_SECONDS = 1.0
STATED_SECONDS = KEEPALIVE_SECONDS * (1 + 1 / PINGS) + GRACE_SECONDS + LAST_TRY_SECONDS

pytestmark = pytest.mark.skipif(networks.why_not() is not None, reason=str(networks.why_not()))
needs_mpi = pytest.mark.skipif(not mpis(), reason="no MPI on this machine (bin/test brings four)")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """A launch host and two agents' hosts."""
    with networks.network(2) as several:
        yield several


@pytest.fixture
def hosts(network: Network) -> Iterator[Hosts]:
    """A cluster over the two; nothing of a test's jobs is left."""
    inside = ["ip", "netns", "exec", network.launch]
    spaces = [word for name in network.agents for word in ("--netns", name)]
    with cluster("--host", network.address, *spaces, inside=inside) as several:
        yield several


@contextlib.contextmanager
def allocation(hosts: Hosts, mpi: Mpi | None, *line: str) -> Iterator[Program]:
    """`roujiamo alloc` with these options and this command, in the background."""
    prefix = [] if mpi is None else ["--prefix", mpi.prefix]
    path = f"{ROOT / 'bin'}:{'' if mpi is None else f'{mpi.prefix}/bin:'}{os.environ['PATH']}"
    options = ["--master", hosts.master, *prefix, "--env", f"{MARKER}={hosts.mark}", "-N", "2", "-n", "4"]
    environment = {
        **mpi_environment(),
        MARKER: hosts.mark,
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(hosts.folder),
        "XDG_RUNTIME_DIR": "",
        "ROUJIAMO_PYTHON": sys.executable,
    }
    alloc = [*hosts.inside, sys.executable, "-m", "roujiamo", "alloc", *options, *line]
    with running(alloc, environment=environment, cwd=hosts.folder) as program:
        yield program


def lost_link(network: Network, host: int, seconds: float) -> None:
    """The cable of a host's port on the switch is out for so long."""
    switch = network.launch.rpartition("-")[0] + "-sw"
    ip("-n", switch, "link", "set", f"p{host}", "down")
    threading.Event().wait(seconds)
    ip("-n", switch, "link", "set", f"p{host}", "up")


@needs_mpi
def test_a_job_outlives_links_that_are_lost_for_less_than_the_grace(hosts: Hosts, network: Network) -> None:
    """Ranks exchange sums and a stream goes to each host and back, while each link is down for two seconds in turn."""
    stop = hosts.folder / "stop"
    streams = " ".join(f"{' '.join(STREAM)} {stop} roujiamo-rsh agent{number} cat &" for number in (1, 2))
    script = f"{streams} mpiexec {' '.join(SUMS)} {stop}; status=$?; wait; exit $status"
    with allocation(hosts, mpis()[0], "--", "sh", "-c", script) as program:
        program.wait_for_line("exchanging", 60)
        until(lambda: program.output().count("streaming") == 2, 20, "the streams")
        for host in (1, 2, 0):
            lost_link(network, host, 2.0)
        stop.touch()
        assert program.wait(60) == 0, program.errors()
        stop.unlink()
        assert "4 ranks agree" in program.output()
        assert program.output().count("bytes came back unchanged") == 2
        assert without_open_mpis_race(program.errors()) == ""


@pytest.mark.parametrize(
    "way", ["no link", pytest.param("nothing to the broker", marks=on_demand), "nothing to the host"]
)
def test_a_host_that_is_out_of_reach_for_good_is_told_in_the_stated_time(
    hosts: Hosts, network: Network, way: str
) -> None:
    """No end sees a FIN. The launch host says so; what runs on the host ends by itself, without a word from outside."""
    options = ["--keepalive", f"{KEEPALIVE_SECONDS:g}", "--reconnect-grace", f"{GRACE_SECONDS:g}"]
    script = "roujiamo-rsh agent1 'echo up; sleep 1000'; echo status $?"
    with allocation(hosts, None, *options, "--", "sh", "-c", script) as program:
        program.wait_for_line("up", 60)
        started = time.monotonic()
        with broken(network, way):
            program.wait_for_line("status 255", STATED_SECONDS + 10)
            assert time.monotonic() - started < scaled(STATED_SECONDS + 1)
            assert program.wait(30) == 0
            assert "agent1" in program.errors()
            assert "out of reach" in program.errors()
            until(lambda: not hosts.left_processes(), STATED_SECONDS + 10, "the end of what ran on the host")


@contextlib.contextmanager
def broken(network: Network, way: str) -> Iterator[None]:
    """The way to the first agent is broken so for the time of a with-block."""
    if way == "no link":
        place, words = network.launch.rpartition("-")[0] + "-sw", ("link", "set", "p1")
        ip("-n", place, *words, "down")
        try:
            yield
        finally:
            ip("-n", place, *words, "up")
        return
    place, target = (
        (network.agents[0], network.address)
        if way == "nothing to the broker"
        else (network.launch, "10.77.0.2")
    )
    ip("-n", place, "route", "add", "blackhole", target)
    try:
        yield
    finally:
        ip("-n", place, "route", "del", "blackhole", target)
