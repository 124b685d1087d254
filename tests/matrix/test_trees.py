"""Tree spawn: daemons that daemons start, through the shims inside the tasks; and the launch host as a Mesos agent."""

import re
import socket
import sys
from collections import Counter

import pytest

from tests.jobs.conftest import ROOT
from tests.matrix import networks
from tests.matrix.conftest import Hosts, cluster
from tests.support import Mpi, mpis

HELLO = [sys.executable, str(ROOT / "roujiamo" / "examples" / "hello.py")]
MANY = 66


def of_family(*names: str) -> pytest.MarkDecorator:
    """Run a test with the MPIs of these dialects."""
    found = [mpi for mpi in mpis() if mpi.name in names]
    return pytest.mark.parametrize(
        "mpi", found or [None], ids=lambda mpi: mpi and f"{mpi.name} {mpi.version}"
    )


def asked_for_by(err: str) -> Counter[str]:
    """Who asked for remote commands, from the broker's log (-vv)."""
    return Counter(re.findall(r"command on \S+, asked for by (the launch host|\S+):", err))


def require(mpi: Mpi | None) -> Mpi:
    if mpi is None:
        pytest.skip("no such MPI on this machine (bin/test brings it)")
    return mpi


@pytest.mark.parametrize("way", ["chain", "flat"])
@of_family("Open MPI 4", "Open MPI 5")
def test_a_chain_of_daemons_and_a_flat_start(hosts: Hosts, mpi: Mpi | None, way: str) -> None:
    """Radix 1: each daemon starts the next one. Without tree spawn: mpiexec starts all."""
    mpi = require(mpi)
    flags = {
        ("Open MPI 4", "chain"): "--mca routed_radix 1",
        ("Open MPI 5", "chain"): "--prtemca rml_base_radix 1",
        ("Open MPI 4", "flat"): "--mca plm_rsh_no_tree_spawn 1",
        ("Open MPI 5", "flat"): "--prtemca plm_ssh_no_tree_spawn 1",
    }[mpi.name, way]
    result = hosts.roujiamo("run", "-vv", "-N", "3", "-n", "6", f"--mpi-args={flags}", *HELLO, mpi=mpi)
    assert result.status == 0, result.err
    assert result.out.count("all ranks add up to 15") == 6
    asked = asked_for_by(result.err)
    if way == "flat":
        assert asked == {"the launch host": 3}
    else:
        assert asked["the launch host"] == 1
        assert sum(asked.values()) == 3


@of_family("Intel MPI")
def test_intels_tree_starts_daemons_from_daemons(hosts: Hosts, mpi: Mpi | None) -> None:
    """-branch-count 1 over three hosts."""
    mpi = require(mpi)
    result = hosts.roujiamo("run", "-vv", "-N", "3", "-n", "6", "--mpi-args=-branch-count 1", *HELLO, mpi=mpi)
    assert result.status == 0, result.err
    assert result.out.count("all ranks add up to 15") == 6
    asked = asked_for_by(result.err)
    assert asked["the launch host"] < sum(asked.values()), asked


@of_family("Open MPI 4", "Open MPI 5", "Intel MPI")
def test_sixty_six_hosts_are_more_than_one_level(many: Hosts, mpi: Mpi | None) -> None:
    """A tree of radix 64 has a second level then, and so has Intel's of 8."""
    mpi = require(mpi)
    program = ["sh", "-c", "echo $(hostname) $MESOS_TASK_ID; sleep 2"]
    size = ["-N", str(MANY), "-n", str(MANY), "-c", "0.1", "-m", "32"]
    tree = ["--mpi-args=-branch-count 8"] if mpi.name == "Intel MPI" else []
    result = many.roujiamo("run", "-vv", *size, *tree, *program, mpi=mpi, seconds=180)
    assert result.status == 0, result.err[-3000:]
    ranks = [line.split() for line in result.out.splitlines()]
    assert {host for host, _ in ranks} == {f"agent{number}" for number in range(1, MANY + 1)}
    assert len({task for _, task in ranks}) == MANY
    asked = asked_for_by(result.err)
    assert sum(asked.values()) == MANY
    assert asked["the launch host"] == (64 if mpi.is_open_mpi else 8)


@pytest.fixture(scope="module")
def many():  # type: ignore[no-untyped-def]
    """66 agents with hostnames of their own on this machine."""
    with cluster("--agents", str(MANY)) as hosts:
        yield hosts


@of_family("Open MPI 4", "Open MPI 5", "MPICH", "Intel MPI")
def test_ranks_on_the_launch_host_run_in_its_task(mpi: Mpi | None) -> None:
    """The launch host may be an agent itself, and launchers run what is local by themselves, outside Mesos."""
    mpi = require(mpi)
    problem = networks.why_not()
    if problem is not None:
        pytest.skip(problem)
    own = socket.gethostname().split(".")[0]
    with networks.network(1) as network:
        inside = ["ip", "netns", "exec", network.launch]
        # Agents are called after this machine, and the first one lives where the job is launched.
        options = ["--host", network.address, "--netns", network.launch, "--netns", network.agents[0]]
        with cluster(*options, "--name-prefix", own, inside=inside) as hosts:
            launch = [*inside, "unshare", "--uts", "sh", "-c", f'hostname {own}1 && exec "$@"', "sh"]
            here = Hosts(hosts.master, launch, hosts.folder, hosts.mark)
            result = here.roujiamo("run", "-N", "2", "-n", "4", *HELLO, mpi=mpi)
    assert result.status == 0, result.err
    ranks = re.findall(r"^rank \d of 4 on (\S+), in Mesos task (\S+); all", result.out, re.MULTILINE)
    assert Counter(host for host, _ in ranks) == {f"{own}1": 2, f"{own}2": 2}
    assert len(set(ranks)) == 2
