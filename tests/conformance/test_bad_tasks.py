"""Tasks that cannot be, and offers that are none: an ACCEPT is taken, and an update says what was wrong."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.conformance.conftest import Master, unique
from tests.support.scheduler import task


def scalar(name: str, value: float) -> dict[str, Any]:
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}}


INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "too much": (
        {"resources": [scalar("cpus", 4000), scalar("mem", 32)]},
        (
            r"Total resources cpus\(allocated: \*\):4000; mem\(allocated: \*\):32 required by task and its executor is "
            r"more than available .*cpus\(allocated: \*\):[\d.]+; mem\(allocated: \*\):[\d.]+; .*"
        ),
    ),
    "an agent that is not the offer's": (
        {"agent_id": {"value": "nope-S0"}},
        r"Task uses invalid agent nope-S0 while agent \S+ is expected",
    ),
    "neither command nor executor": (
        {"command": None},
        r"Task should have at least one \(but not both\) of CommandInfo or ExecutorInfo present",
    ),
    "no resources": ({"resources": []}, r"Task uses no resources"),
    "two roles": (
        {"resources": [{**scalar("cpus", 0.1), "allocation_info": {"role": "x"}}, scalar("mem", 32)]},
        (
            r"Invalid task resources: The resources have multiple allocation roles \('\*' and 'x'\) but only one "
            r"allocation role is allowed"
        ),
    ),
    "a grace below zero": (
        {"kill_policy": {"grace_period": {"nanoseconds": -1}}},
        r"Task's 'kill_policy.grace_period' must be non-negative",
    ),
    "a time below zero": (
        {"max_completion_time": {"nanoseconds": -1}},
        r"Task's `max_completion_time` must be non-negative",
    ),
    "a slash in its id": ({"task_id": {"value": "a/b"}}, r"'a/b' contains invalid characters"),
    "a long id": ({"task_id": {"value": "x" * 256}}, r"ID must not be greater than 255 characters"),
    "dots for an id": ({"task_id": {"value": ".."}}, r"'\.\.' is disallowed"),
    "no id": ({"task_id": {"value": ""}}, r"ID must not be empty"),
}


def test_a_task_that_cannot_be_is_an_error_and_the_others_run(master: Master) -> None:
    """All in one ACCEPT; the good one at the end is not touched by them."""
    good = unique("good")
    with master.framework() as framework:
        offer = framework.offer()
        bad = {
            what: {**task(unique("bad"), "true", offer), **change} for what, (change, _) in INVALID.items()
        }
        for one in bad.values():
            if one["command"] is None:
                del one["command"]
        framework.accept(offer, *bad.values(), task(good, "true", offer))
        for what, (_, message) in INVALID.items():
            status = framework.update(bad[what]["task_id"]["value"])
            assert (status["state"], status["reason"], status["source"]) == (
                "TASK_ERROR",
                "REASON_TASK_INVALID",
                "SOURCE_MASTER",
            ), what
            assert re.fullmatch(message, status["message"]), (what, status["message"])
            assert "uuid" not in status
        assert framework.update(good)["state"] == "TASK_FINISHED"


MEANINGLESS: dict[str, tuple[dict[str, Any], str]] = {
    "less than nothing": (scalar("cpus", -1), "cpus:-1' is invalid: Invalid scalar resource: value <= 0"),
    "next to nothing": (scalar("cpus", 0.0001), "cpus:0' is invalid: Invalid scalar resource: value <= 0"),
    "no value": ({"name": "cpus", "type": "SCALAR"}, "cpus:0' is invalid: Invalid scalar resource"),
    "backwards": (
        {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 5, "end": 2}]}},
        "ports:[5-2]' is invalid: Invalid ranges resource: begin > end",
    ),
}


@pytest.mark.parametrize("what", list(MEANINGLESS))
def test_a_resource_that_means_nothing_spoils_all_tasks_of_its_launch(master: Master, what: str) -> None:
    """Those of another LAUNCH of the same ACCEPT run."""
    bad, beside, good = unique("bad"), unique("beside"), unique("good")
    resource, message = MEANINGLESS[what]
    with master.framework() as framework:
        offer = framework.offer()
        spoilt = {**task(bad, "true", offer), "resources": [resource, scalar("mem", 32)]}
        launches = [[task(beside, "true", offer), spoilt], [task(good, "true", offer)]]
        operations = [{"type": "LAUNCH", "launch": {"task_infos": infos}} for infos in launches]
        framework.call("ACCEPT", accept={"offer_ids": [offer["id"]], "operations": operations})
        for name in (bad, beside):
            status = framework.update(name)
            assert (status["state"], status["message"]) == ("TASK_ERROR", f"Resource '{message}")
        assert framework.update(good)["state"] == "TASK_FINISHED"


def test_an_id_may_be_used_by_one_task_at_a_time(master: Master) -> None:
    name = unique("t")
    with master.framework() as framework:
        offer = framework.offer()
        framework.accept(offer, task(name, "sleep 1000", offer), task(name, "true", offer))
        status = framework.update(name, ("TASK_ERROR",))
        assert (status["message"], status["reason"]) == (
            f"Task has duplicate ID: {name}",
            "REASON_TASK_INVALID",
        )
        framework.update(name, ("TASK_RUNNING",))
        before = len(framework.events)
        framework.launch(name, "true")
        status = framework.update(name, ("TASK_ERROR",), since=before)
        assert status["message"] == f"Task has duplicate ID: {name}"


def lost(message: str, status: dict[str, Any]) -> None:
    assert (status["state"], status["reason"], status["source"], status["message"]) == (
        "TASK_LOST",
        "REASON_INVALID_OFFERS",
        "SOURCE_MASTER",
        f"Task launched with invalid offers: {message}",
    )
    assert "uuid" not in status


@pytest.mark.parametrize("which", ["invented", "none", "used", "declined", "twice"])
def test_tasks_on_offers_that_are_none_are_lost(master: Master, which: str) -> None:
    name = unique("t")
    with master.framework() as framework:
        offer = framework.offer()
        offer_id = offer["id"]["value"]
        if which == "invented":
            offers, message = [{"id": {"value": "nope-O1"}}], "Offer nope-O1 is no longer valid"
        elif which == "none":
            offers, message = [], "No offers specified"
        elif which == "twice":
            offers, message = [offer, offer], f"Duplicate offer {offer_id} in offer list"
        else:
            offers, message = [offer], f"Offer {offer_id} is no longer valid"
            if which == "used":
                framework.accept(offer)
            else:
                framework.decline([offer], refuse_seconds=60.0)
        framework.accept(offers, task(name, "true", offer))
        lost(message, framework.update(name))


def test_one_accept_takes_offers_of_one_agent(master: Master) -> None:
    name = unique("t")
    with master.framework() as framework:
        first, second = framework.offers(2)[:2]
        framework.accept([first, second], task(name, "true", first))
        status = framework.update(name)
        lost(
            f"Aggregated offers must belong to one single agent. Offer {second['id']['value']} uses agent "
            f"{second['agent_id']['value']} and agent {first['agent_id']['value']}",
            status,
        )
        # Both were used up by it, and come again.
        again = {one["agent_id"]["value"] for one in framework.offers(2)}
        assert {first["agent_id"]["value"], second["agent_id"]["value"]} <= again | {
            one["agent_id"]["value"] for one in framework.offers(2)
        }


def test_several_offers_of_one_agent_go_together(master: Master) -> None:
    """A task takes a part, the rest comes back as an offer; with a second task's rest an agent has two out at once."""
    first, both = unique("first"), unique("both")
    with master.framework() as framework:
        offer = framework.offer()

        def of_agent() -> list[dict[str, Any]]:
            return [one for one in framework.offers(1) if one["agent_id"] == offer["agent_id"]]

        framework.accept(offer, task(first, "sleep 1000", offer, cpus=1.0))
        framework.update(first, ("TASK_RUNNING",))
        framework.wait_for(lambda _: len(of_agent()) == 1)
        framework.call("KILL", kill={"task_id": {"value": first}})
        framework.wait_for(lambda _: len(of_agent()) == 2)
        parts = of_agent()
        cpus = [cpus_of(part) for part in parts]
        assert min(cpus) == 1.0
        framework.accept(parts, task(both, "true", offer, cpus=sum(cpus)))
        assert framework.update(both)["state"] == "TASK_FINISHED"


def cpus_of(offer: dict[str, Any]) -> float:
    return float(next(one["scalar"]["value"] for one in offer["resources"] if one["name"] == "cpus"))
