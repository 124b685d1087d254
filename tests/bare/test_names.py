"""What may stand behind -H: names in any form that users know, and the agents that they mean."""

import json
import urllib.request
from collections.abc import Iterator

import pytest

from tests.bare.conftest import Bench, bench_with, launchers
from tests.local.conftest import cluster
from tests.support import scaled

# Two in one domain, two that differ only in theirs, one in capitals, one that is an address, two of one name.
NAMES = "node1.a.test,node2.a.test,twin.a.test,twin.b.test,UPPER,10.9.8.7,same.c.test,same.c.test"


@pytest.fixture(scope="module")
def master() -> Iterator[str]:
    """A cluster whose agents have such names; none of them resolves."""
    with cluster("--names", NAMES) as one:
        yield one.address


def agent_ids(master: str, hostname: str) -> list[str]:
    with urllib.request.urlopen(f"http://{master}/slaves", timeout=scaled(10)) as answer:
        return sorted(each["id"] for each in json.load(answer)["slaves"] if each["hostname"] == hostname)


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ("node1.a.test", "node1.a.test"),
        ("node2", "node2.a.test"),
        ("Node1.A", "node1.a.test"),
        ("twin.b.test", "twin.b.test"),
        ("upper", "UPPER"),
        ("upper.any.domain", "UPPER"),
        ("10.9.8.7", "10.9.8.7"),
    ],
)
def test_a_name_reaches_the_agent_that_it_means(master: str, wanted: str, meant: str) -> None:
    """Full, short, in capitals or not, an address, and nothing of it known to a name service."""
    with bench_with(master, None) as bench:
        result = bench.run("roujiamo-rsh", wanted, 'echo "$MESOS_HOSTNAME$(hostname)"')
        assert result.status == 0, result.err
        assert meant in result.out


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("twin", "twin may mean twin.a.test or twin.b.test; name the agent in full"),
        ("node3", "there is no agent called node3; the agents are "),
        ("10.9.8", "there is no agent called 10.9.8;"),
        ("same.c.test", "2 agents are called same.c.test; write "),
        ("127.0.0.1", "8 agents are called 127.0.0.1; write "),
    ],
)
def test_a_name_that_means_none_or_several_is_refused(master: str, wanted: str, sentence: str) -> None:
    """255, and the sentence says what to write instead."""
    with bench_with(master, None) as bench:
        result = bench.run("roujiamo-rsh", wanted, "hostname")
        assert result.status == 255
        assert sentence in result.err


def test_agents_that_share_a_name_are_each_reached_by_their_id(master: str) -> None:
    """The sentence above names the ids; in a hostfile they stand as any name does."""
    one, other = agent_ids(master, "same.c.test")
    with bench_with(master, None) as bench:
        for wanted in (one, other):
            result = bench.run("roujiamo-rsh", wanted, "echo $MESOS_SANDBOX")
            assert f"/slaves/{wanted}/" in result.out, result.err


@pytest.mark.skipif(not launchers(), reason="no MPI on this machine (bin/test brings some)")
def test_a_launcher_may_cut_names_and_use_ids(master: str) -> None:
    """Open MPI 4 cuts a name at its first dot unless told not to: unique ones are found all the same."""
    bench: Bench
    with bench_with(master, launchers()[0]) as bench:
        result = bench.where("node1.a.test,node2.a.test")
        assert result.hosts() == dict(enumerate(["node1.a.test", "node2.a.test"])), result.err
        whole = ("--mca", "orte_keep_fqdn_hostnames", "1")
        result = bench.where("twin.a.test,twin.b.test", whole)
        assert result.hosts() == dict(enumerate(["twin.a.test", "twin.b.test"])), result.err
        result = bench.where(",".join(agent_ids(master, "same.c.test")))
        assert result.hosts() == dict(enumerate(["same.c.test", "same.c.test"])), result.err
