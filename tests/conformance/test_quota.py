"""Quota: what a role may use at most, and what its frameworks see of that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.conftest import Master, unique
from tests.support.scheduler import Scheduler, task

MULTI_ROLE = [{"type": "MULTI_ROLE"}]


def config(role: str, **limits: float) -> dict[str, Any]:
    return {"role": role, "limits": {name: {"value": value} for name, value in limits.items()}}


def update(master: Master, *configs: dict[str, Any], force: bool = False) -> tuple[int, Any]:
    return master.operator("UPDATE_QUOTA", update_quota={"force": force, "quota_configs": list(configs)})


@pytest.fixture
def role(master: Master) -> Iterator[str]:
    """A role of this test's own; it has no limits at the end."""
    name = unique("quota")
    yield name
    assert update(master, {"role": name}) == (200, b"")


def cpus_of(offer: dict[str, Any]) -> float:
    return float(sum(each["scalar"]["value"] for each in offer["resources"] if each["name"] == "cpus"))


def cpus_in(framework: Scheduler, since: int = 0) -> list[float]:
    """The cpus of each offer that came since then and was not withdrawn, where there are some."""
    gone = [event["rescind"]["offer_id"] for event in framework.events if event["type"] == "RESCIND"]
    events = [event["offers"]["offers"] for event in framework.events[since:] if event["type"] == "OFFERS"]
    found = [cpus_of(offer) for offers in events for offer in offers if offer["id"] not in gone]
    return sorted(each for each in found if each)


REFUSED = {
    "a nested role": (config("a/b", cpus=1), "Updating quota on nested role 'a/b' is not supported yet"),
    "no role's name": (
        config("-r", cpus=1),
        "Invalid QuotaConfig: Invalid 'QuotaConfig.role': Role component '-r' is invalid because it starts with a dash",
    ),
    "less than nothing": (
        config("r", cpus=-2),
        "Invalid QuotaConfig: Invalid limit configuration {'cpus': -2}: Negative values not supported",
    ),
    "no role": (
        {"limits": {"cpus": {"value": 1}}},
        "Failed to convert JSON into Call protobuf: Missing required fields: update_quota.quota_configs[0].role",
    ),
    "no amount": (
        {"role": "r", "limits": {"cpus": {}}},
        (
            "Failed to convert JSON into Call protobuf: Missing required fields:"
            " update_quota.quota_configs[0].limits[0].value.value"
        ),
    ),
    "a bare number": (
        {"role": "r", "limits": {"cpus": 2}},
        "Failed to convert JSON into Call protobuf: Not expecting a JSON number for field 'value'",
    ),
}


@pytest.mark.parametrize("what", list(REFUSED))
def test_a_quota_that_cannot_be_is_refused(master: Master, what: str) -> None:
    bad, message = REFUSED[what]
    assert update(master, config("r", cpus=1), bad) == (
        400,
        message.replace("quota_configs[0]", "quota_configs[1]").encode(),
    )
    assert "r" not in {each["role"] for each in master.get("/quota").get("configs", [])}


def test_a_quota_is_kept_and_shown(master: Master, role: str) -> None:
    assert update(master, config(role, cpus=2, mem=1000.5)) == (200, b"")
    expected = {"role": role, "limits": {"cpus": {"value": 2.0}, "mem": {"value": 1000.5}}}
    status = master.operator("GET_QUOTA")[1]["get_quota"]["status"]
    for shown in (status, master.get("/quota")):
        assert expected in shown["configs"]
        assert {"role": role} in shown["infos"]
    (entry,) = [each for each in master.get("/roles")["roles"] if each["name"] == role]
    assert entry["quota"] == {
        "role": role,
        "guarantee": {},
        "limit": {"cpus": 2.0, "mem": 1000.5},
        "consumed": {},
    }


def test_a_role_is_offered_no_more_than_its_limit_and_others_the_rest(master: Master, role: str) -> None:
    """All that the limit allows may stand in one agent's offer; others come without what is used up."""
    agents = len(master.get("/slaves")["slaves"])
    assert update(master, config(role, cpus=2)) == (200, b"")
    with master.framework(roles=[role], capabilities=MULTI_ROLE) as framework:
        framework.offers(agents)
        assert cpus_in(framework) == [2.0]
        with master.framework(roles=[unique("other")], capabilities=MULTI_ROLE) as other:
            other.offer()
            framework.decline(framework.offers(1), refuse_seconds=600.0)
            other.wait_for(lambda _: sum(cpus_in(other)) == 4.0 * agents)


def test_where_all_kinds_are_limited_the_other_agents_are_not_offered(master: Master, role: str) -> None:
    assert update(master, config(role, cpus=1, mem=100)) == (200, b"")
    with master.framework(roles=[role], capabilities=MULTI_ROLE) as framework:
        (offer,) = framework.offers(1)
        amounts = {each["name"]: each["scalar"]["value"] for each in offer["resources"] if "scalar" in each}
        assert (amounts["cpus"], amounts["mem"]) == (1.0, 100.0)


def test_what_a_role_uses_counts_and_the_rest_is_offered_elsewhere(master: Master, role: str) -> None:
    """Below what is used no limit goes, unless forced; what is offered then is withdrawn."""
    assert update(master, config(role, cpus=3)) == (200, b"")
    with master.framework(roles=[role], capabilities=MULTI_ROLE) as framework:
        offer = next(each for each in framework.offers(len(master.get("/slaves")["slaves"])) if cpus_of(each))
        name = unique("t")
        since = len(framework.events)
        framework.accept(offer, task(name, "sleep 1000", offer, cpus=2.0))
        framework.update(name, ("TASK_RUNNING",))
        framework.wait_for(lambda _: cpus_in(framework, since) == [1.0])
        used = (
            f"Invalid QuotaConfig: Role '{role}' is already consuming 'cpus:2; mem:32'; this is more than the requested"
            " limits 'cpus:0.5' (use 'force' flag to bypass this check)"
        )
        assert update(master, config(role, cpus=0.5)) == (400, used.encode())
        (entry,) = [each for each in master.get("/roles")["roles"] if each["name"] == role]
        assert entry["quota"]["consumed"] == {"cpus": 2.0, "mem": 32.0}
        since = len(framework.events)
        assert update(master, config(role, cpus=0.5), force=True) == (200, b"")
        framework.wait_for(lambda event: event["type"] == "RESCIND", since=since)
        framework.wait_for(lambda event: event["type"] == "OFFERS", since=since)
        assert cpus_in(framework, since) == []
        since = len(framework.events)
        assert update(master, config(role, cpus=2.5)) == (200, b"")
        framework.wait_for(lambda _: cpus_in(framework, since) == [0.5])
        assert framework.states(name)[-1] == "TASK_RUNNING"
