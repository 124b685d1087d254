"""Who is offered what: refusals and how long they hold, SUPPRESS and REVIVE, and offers that are withdrawn."""

from __future__ import annotations

from typing import Any

from tests.conformance.conftest import Master, unique
from tests.support.scheduler import Scheduler, task


def all_offers(master: Master, framework: Scheduler) -> list[dict[str, Any]]:
    """One offer of each agent."""
    return framework.offers(sum(one["active"] for one in master.get("/slaves")["slaves"]))


def a_moment(master: Master, framework: Scheduler) -> int:
    """Let an allocation or two go by: until a second framework, which refuses nothing, was offered what is free.

    Returns the number of events before it began.
    """
    before = len(framework.events)
    with master.framework() as other:
        other.offer()
        first = other.offers(1)
        other.decline(first, refuse_seconds=0.0)
        since = len(other.events)
        other.offer(since)
        other.call("TEARDOWN")
    framework.read_what_is_there()
    return before


def kinds(framework: Scheduler, since: int) -> set[str]:
    return {event["type"] for event in framework.events[since:]} - {"HEARTBEAT"}


def test_declined_for_no_time_comes_again_at_once(master: Master) -> None:
    with master.framework() as framework:
        offers = all_offers(master, framework)
        framework.decline(offers, refuse_seconds=0.0)
        again = all_offers(master, framework)
        assert {one["agent_id"]["value"] for one in again} == {one["agent_id"]["value"] for one in offers}
        assert not {one["id"]["value"] for one in again} & {one["id"]["value"] for one in offers}


def test_declined_for_long_comes_again_only_when_revived(master: Master) -> None:
    """While another framework, which refused nothing, is offered it."""
    with master.framework() as framework:
        offers = all_offers(master, framework)
        framework.decline(offers, refuse_seconds=600.0)
        since = a_moment(master, framework)
        assert kinds(framework, since) == set()
        assert framework.call("REVIVE") == (202, b"")
        assert len(all_offers(master, framework)) == len(offers)


def test_a_refusal_holds_for_as_long_as_it_says(master: Master) -> None:
    with master.framework() as framework:
        offers = all_offers(master, framework)
        framework.decline(offers, refuse_seconds=1.5)
        since = len(framework.events)
        framework.wait_for(lambda event: event["type"] == "OFFERS", since=since)


def test_more_than_was_refused_is_offered(master: Master) -> None:
    """A filter is against so much of an agent, or less: when a task there ends, there is more."""
    name = unique("t")
    with master.framework() as framework:
        offers = all_offers(master, framework)
        mine, *others = offers
        framework.decline(others, refuse_seconds=600.0)
        launch = {"type": "LAUNCH", "launch": {"task_infos": [task(name, "sleep 1000", mine, cpus=1.0)]}}
        accept = {"offer_ids": [mine["id"]], "operations": [launch], "filters": {"refuse_seconds": 600.0}}
        framework.call("ACCEPT", accept=accept)
        framework.update(name, ("TASK_RUNNING",))
        since = a_moment(master, framework)
        assert kinds(framework, since) == set()
        framework.call("KILL", kill={"task_id": {"value": name}})
        event = framework.wait_for(lambda event: event["type"] == "OFFERS", since=since)
        assert [one["agent_id"] for one in event["offers"]["offers"]] == [mine["agent_id"]]


def test_a_suppressed_framework_gets_nothing_until_it_revives(master: Master) -> None:
    """The offers that it has are still its own."""
    name = unique("t")
    with master.framework() as framework:
        offer = framework.offer()
        assert framework.call("SUPPRESS") == (202, b"")
        framework.launch(name, "true")
        framework.update(name)
        since = a_moment(master, framework)
        assert "OFFERS" not in kinds(framework, since)
        assert framework.call("REVIVE") == (202, b"")
        event = framework.wait_for(lambda event: event["type"] == "OFFERS", since=since)
        assert offer["agent_id"] in [one["agent_id"] for one in event["offers"]["offers"]]


def test_a_framework_may_subscribe_suppressed(master: Master) -> None:
    with master.framework(suppressed_roles=("*",)) as framework:
        since = a_moment(master, framework)
        assert "OFFERS" not in kinds(framework, since)
        framework.call("REVIVE")
        framework.offer()


def test_a_role_that_is_given_up_has_its_offers_withdrawn(master: Master) -> None:
    """UPDATE_FRAMEWORK: the roles may change, and RESCIND tells what that costs."""
    multi_role = [{"type": "MULTI_ROLE"}]
    with master.framework(roles=["ml"], capabilities=multi_role) as framework:
        offers = all_offers(master, framework)
        since = len(framework.events)
        info = {**framework.info, "id": framework.id, "roles": ["hpc"]}
        assert framework.call("UPDATE_FRAMEWORK", update_framework={"framework_info": info})[0] == 200
        for offer in offers:
            framework.wait_for(
                lambda event, offer=offer: event == {"type": "RESCIND", "rescind": {"offer_id": offer["id"]}},
                since=since,
            )
        event = framework.wait_for(lambda event: event["type"] == "OFFERS", since=since)
        assert {one["allocation_info"]["role"] for one in event["offers"]["offers"]} == {"hpc"}


def test_what_one_framework_holds_no_other_is_offered(master: Master) -> None:
    with master.framework() as first:
        offers = all_offers(master, first)
        with master.framework() as second:
            first.decline(offers[:1], refuse_seconds=600.0)
            event = second.wait_for(lambda event: event["type"] == "OFFERS")
            assert [one["agent_id"] for one in event["offers"]["offers"]] == [offers[0]["agent_id"]]


def test_a_part_of_an_offer_may_be_used_and_the_rest_comes_back(master: Master) -> None:
    name = unique("t")
    with master.framework() as framework:
        offer = framework.launch(name, "sleep 1000")
        framework.update(name, ("TASK_RUNNING",))
        since = len(framework.events)

        def rest() -> Any:
            offers = [
                one
                for event in framework.events
                if event["type"] == "OFFERS"
                for one in event["offers"]["offers"]
            ]
            return [
                one for one in offers if one["agent_id"] == offer["agent_id"] and one["id"] != offer["id"]
            ]

        if not rest():
            framework.wait_for(lambda _: bool(rest()), since=since)
        amounts = [
            {one["name"]: one["scalar"]["value"] for one in part["resources"] if "scalar" in one}
            for part in (offer, rest()[0])
        ]
        assert round(amounts[0]["cpus"] - amounts[1]["cpus"], 3) == 0.1
        assert amounts[0]["mem"] - amounts[1]["mem"] == 32
        used = master.state_of(framework.id["value"])
        assert used is not None
        assert (used["used_resources"]["cpus"], used["used_resources"]["mem"]) == (0.1, 32)


MULTI_ROLE = [{"type": "MULTI_ROLE"}]


def role_of(offer: dict[str, Any]) -> str:
    role: str = offer["allocation_info"]["role"]
    return role


def test_what_is_declined_in_one_role_is_offered_in_the_other(master: Master) -> None:
    """A framework with several roles has each agent offered in one of them at a time; a filter is one role's."""
    roles = {unique("ml"), unique("hpc")}
    with master.framework(roles=sorted(roles), capabilities=MULTI_ROLE) as framework:
        offers = all_offers(master, framework)
        for offer in offers:
            assert role_of(offer) in roles
            assert {each["allocation_info"]["role"] for each in offer["resources"]} == {role_of(offer)}
        framework.decline(offers, refuse_seconds=600.0)
        again = all_offers(master, framework)
        first = {one["hostname"]: role_of(one) for one in offers}
        assert {one["hostname"]: {role_of(one), first[one["hostname"]]} for one in again} == dict.fromkeys(
            first, roles
        )


def test_offers_are_suppressed_and_revived_role_by_role(master: Master) -> None:
    """One that is suppressed gets nothing while the other does."""
    ml, hpc = unique("ml"), unique("hpc")
    with master.framework(roles=[ml, hpc], capabilities=MULTI_ROLE) as framework:
        offers = all_offers(master, framework)
        assert framework.call("SUPPRESS", suppress={"roles": [ml]}) == (202, b"")
        framework.decline(offers, refuse_seconds=0.0)
        offers = all_offers(master, framework)
        assert {role_of(one) for one in offers} == {hpc}
        framework.decline(offers, refuse_seconds=600.0)
        assert framework.call("REVIVE", revive={"roles": [ml]}) == (202, b"")
        assert {role_of(one) for one in all_offers(master, framework)} == {ml}


def test_a_task_is_launched_in_the_role_of_its_offer(master: Master) -> None:
    """Resources that are said to be allocated to another role are not there."""
    ml, hpc = unique("ml"), unique("hpc")
    with master.framework(roles=[ml, hpc], capabilities=MULTI_ROLE) as framework:
        wrong, right = unique("t"), unique("t")
        offer, *others = all_offers(master, framework)
        mine, other = role_of(offer), ({ml, hpc} - {role_of(offer)}).pop()
        bad = task(wrong, "sleep 1000", offer)
        for each in bad["resources"]:
            each["allocation_info"] = {"role": other}
        framework.accept(offer, bad)
        error = framework.update(wrong)
        assert (error["state"], error["reason"]) == ("TASK_ERROR", "REASON_TASK_INVALID")
        asked = f"Total resources cpus(allocated: {other}):0.1; mem(allocated: {other}):32 required by task"
        assert error["message"].startswith(asked)
        assert f"(allocated: {mine}):" in error["message"].partition("more than available")[2]
        good = task(right, "sleep 1000", others[0])
        for each in good["resources"]:
            each["allocation_info"] = {"role": role_of(others[0])}
        framework.accept(others[0], good)
        framework.update(right, ("TASK_RUNNING",))
        (entry,) = [each for each in master.get("/roles")["roles"] if each["name"] == role_of(others[0])]
        assert entry["allocated"] == {"cpus": 0.1, "mem": 32.0}


def test_an_accept_combines_offers_of_one_role_only(master: Master) -> None:
    """Two offers of one agent in two roles, which a quota makes, are not one."""
    first, second = unique("a"), unique("b")

    def limit(**limits: float) -> None:
        config = {"role": first, "limits": {name: {"value": value} for name, value in limits.items()}}
        assert master.operator("UPDATE_QUOTA", update_quota={"quota_configs": [config]}) == (200, b"")

    limit(cpus=1)
    try:
        with master.framework(roles=[first, second], capabilities=MULTI_ROLE) as framework:
            agents = master.get("/slaves")["slaves"]

            def pair() -> list[dict[str, Any]]:
                by_agent: dict[str, list[dict[str, Any]]] = {}
                for one in framework.offers(1):
                    by_agent.setdefault(one["agent_id"]["value"], []).append(one)
                return next(
                    (both for both in by_agent.values() if len({role_of(one) for one in both}) == 2), []
                )

            framework.offers(len(agents))
            framework.wait_for(lambda _: bool(pair()))
            both = pair()
            name = unique("t")
            framework.accept(both, task(name, "true", both[0]))
            lost = framework.update(name)
            assert (lost["state"], lost["reason"]) == ("TASK_LOST", "REASON_INVALID_OFFERS")
            assert "Aggregated offers must be allocated to the same role" in lost["message"]
    finally:
        limit()
