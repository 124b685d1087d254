"""What a role may use at most, as GET /roles tells it: whether a gang can ever be had, and why it is waited for."""

import pytest

from roujiamo.errors import ProtocolError
from roujiamo.mesos.demand import Demand
from roujiamo.mesos.gang import GangAllocator
from roujiamo.mesos.resources import Resources
from roujiamo.mesos.role_quota import parse_quotas
from tests.mesos.master_model import offer

AGENTS = [
    {"id": f"S{number}", "hostname": f"agent{number}", "resources": {"cpus": 4, "mem": 4096}}
    for number in (1, 2)
]


def role(name, consumed=None, **limit):
    return {
        "name": name,
        "quota": {"role": name, "guarantee": {}, "limit": limit, "consumed": consumed or {}},
    }


def gang_of(*roles, hosts=2, slots=4, names="hpc"):
    gang = GangAllocator(
        Demand(hosts, slots, Resources(cpus=1, mem=100), Resources(cpus=0.5, mem=28)),
        names.split(","),
        4.0,
        0.0,
        lambda: 0.5,
    )
    gang.learn_quotas(roles)
    return gang


def test_a_gang_beyond_its_roles_quota_is_impossible():
    """Four processes of one cpu and two hosts of half a cpu each."""
    assert gang_of(role("hpc", cpus=4.5)).is_impossible(AGENTS) == (
        "the role hpc may use no more than 4.5 cpus (its quota); all hosts together need 5 cpus"
    )
    assert gang_of(role("hpc", cpus=0)).explain(AGENTS) == (
        "the role hpc may use no more than 0 cpus (its quota); all hosts together need 5 cpus"
    )
    assert gang_of(role("hpc", mem=455)).is_impossible(AGENTS) == (
        "the role hpc may use no more than 455 MB (its quota); all hosts together need 456 MB"
    )


def test_a_gang_that_may_be_had_is_not_impossible():
    """Exactly the limit will do; another role's, its parent's, and one of what nobody asks for are nothing to us."""
    for roles in (
        [role("hpc", cpus=5)],
        [role("ml", cpus=1)],
        [role("hpc", gpus=0, disk=0)],
        [{"name": "hpc"}],
        [],
    ):
        assert gang_of(*roles).is_impossible(AGENTS) is None
    assert gang_of(role("hpc", cpus=1), names="hpc/team").is_impossible(AGENTS) is None
    # On one host, four processes need the half cpu once.
    assert gang_of(role("hpc", cpus=4.5), hosts=None).is_impossible(AGENTS) is None


def test_several_roles_may_use_what_their_quotas_allow_together():
    """One without a limit makes all possible."""
    assert gang_of(role("hpc", cpus=2), role("ml", cpus=2.5), names="hpc,ml").is_impossible(AGENTS) == (
        "the roles hpc and ml may use no more than 4.5 cpus (together, by their quotas);"
        " all hosts together need 5 cpus"
    )
    assert gang_of(role("hpc", cpus=2), names="hpc,ml").is_impossible(AGENTS) is None


def test_a_wait_says_what_is_left_of_a_quota():
    gang = gang_of(role("hpc", {"cpus": 6.0, "mem": 99.0}, cpus=8))
    assert gang.explain(AGENTS) == (
        "the master has not offered any of its 2 agents yet: all in use, or offered to others;"
        " the role hpc has 2 cpus left of its quota of 8 cpus"
    )
    gang.learn_quotas([role("hpc", {"cpus": 9.0}, cpus=8)])
    assert gang.explain(AGENTS).endswith("; the role hpc has nothing left of its quota of 8 cpus")


def test_a_quota_that_is_offered_whole_on_one_agent_is_told():
    """The master gives an agent's offer all that the limit leaves, and the next agent's offer none of it."""
    gang = gang_of(role("hpc", cpus=5))
    gang.on_offers([offer(1, 1, cpus=4, role="hpc"), offer(2, 2, cpus=1, role="hpc")], 0.0)
    assert "1 of 2 hosts is free" in gang.explain(AGENTS)
    assert gang.explain(AGENTS).endswith(
        "; the quota of hpc may be offered whole on one agent, and then the other agents are offered without"
    )


def test_a_role_that_cannot_be_read_is_a_protocol_error():
    for listed in (
        [{}],
        [{"name": "hpc", "quota": {"limit": {"cpus": "many"}}}],
        [{"name": "hpc", "quota": 3}],
        [7],
    ):
        with pytest.raises(ProtocolError, match="described a role"):
            parse_quotas(listed, ["hpc"])
