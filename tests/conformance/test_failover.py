"""A framework's stream that ends: its failover timeout, its return, and its removal."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.conftest import Master, unique
from tests.support import until
from tests.support.scheduler import Scheduler, task


def is_away(master: Master, framework: Scheduler) -> bool:
    known = master.state_of(framework.id["value"])
    return known is not None and not known["connected"]


def removed(master: Master, framework: Scheduler) -> Any:
    over = master.get("/frameworks")["completed_frameworks"]
    return next((one for one in over if one["id"] == framework.id["value"]), None)


@pytest.mark.parametrize("timeout", [{}, {"failover_timeout": 0.5}])
def test_a_framework_that_does_not_come_back_is_removed_with_its_tasks(
    master: Master, timeout: dict[str, float]
) -> None:
    """At once where it named no timeout."""
    name = unique("t")
    with master.framework(**timeout) as framework:
        framework.launch(name, "sleep 1000")
        framework.update(name, ("TASK_RUNNING",))
        framework.close()
        over = until(lambda: removed(master, framework), what="the framework's removal")
        assert [(one["id"], one["state"]) for one in over["completed_tasks"]] == [(name, "TASK_KILLED")]
        with master.framework(id=framework.id, name=framework.info["name"], **timeout) as again:
            assert again.events == [{"type": "ERROR", "error": {"message": "Framework has been removed"}}]


def test_a_framework_that_comes_back_in_time_has_its_tasks_and_offers(master: Master) -> None:
    name = unique("t")
    with master.framework(failover_timeout=60, acknowledges=False) as first:
        first.launch(name, "sleep 1000")
        starting = first.update(name, ("TASK_STARTING",))
        first.close()
        until(lambda: is_away(master, first), what="the master to notice")
        with master.framework(id=first.id, name=first.info["name"], failover_timeout=60) as second:
            assert second.id == first.id
            assert second.stream_id != first.stream_id
            # What it did not acknowledge before comes again, and so does what was free.
            assert second.update(name, ("TASK_STARTING",))["uuid"] == starting["uuid"]
            second.update(name, ("TASK_RUNNING",))
            assert second.offer()
            known = master.state_of(first.id["value"])
            assert known is not None
            assert (known["connected"], [one["id"] for one in known["tasks"]]) == (True, [name])
            assert "reregistered_time" in known


def test_offers_are_gone_with_the_stream(master: Master) -> None:
    name = unique("t")
    with master.framework(failover_timeout=60) as first:
        offer = first.offer()
        first.close()
        until(lambda: is_away(master, first), what="the master to notice")
        with master.framework(id=first.id, name=first.info["name"], failover_timeout=60) as second:
            second.accept(offer, task(name, "true", offer))
            status = second.update(name)
            assert (status["state"], status["reason"]) == ("TASK_LOST", "REASON_INVALID_OFFERS")


def test_a_second_subscription_ends_the_first(master: Master) -> None:
    """The first is told why, and its stream's id counts no more."""
    with (
        master.framework(failover_timeout=60) as first,
        master.framework(id=first.id, name=first.info["name"], failover_timeout=60) as second,
    ):
        first.wait_for(
            lambda event: event == {"type": "ERROR", "error": {"message": "Framework failed over"}}
        )
        first.wait_for_end()
        status, message = first.call("REVIVE")
        assert status == 400
        assert message.startswith(
            b"The stream ID '" + first.stream_id.encode() + b"' included in this request"
        )
        assert second.call("REVIVE") == (202, b"")


def test_calls_without_a_stream_are_forbidden_while_a_framework_is_away(master: Master) -> None:
    with master.framework(failover_timeout=60) as framework:
        framework.close()
        until(lambda: is_away(master, framework), what="the master to notice")
        assert framework.call("REVIVE") == (403, b"Framework is not subscribed")
        assert framework.call("TEARDOWN") == (403, b"Framework is not subscribed")


def test_a_framework_that_comes_back_may_change_its_name_but_not_what_its_tasks_rest_on(
    master: Master,
) -> None:
    """User and checkpointing stay what they were, silently; another principal is refused, and the old stream lives."""
    with (
        master.framework(failover_timeout=60) as first,
        master.framework(
            id=first.id, name="another", user="nobody", checkpoint=True, failover_timeout=60
        ) as second,
    ):
        known = master.state_of(first.id["value"])
        assert known is not None
        assert (known["name"], known["user"], known["checkpoint"]) == ("another", "root", False)
        if master.credentials is None:
            with master.framework(id=first.id, principal="somebody", failover_timeout=60) as other:
                message = "Changing framework's principal is not allowed."
                assert other.events == [{"type": "ERROR", "error": {"message": message}}]
        assert second.call("REVIVE") == (202, b"")


FIXED = {
    "user": (
        "nobody",
        "Updating 'FrameworkInfo.user' is unsupported; attempted to update from 'root' to 'nobody'",
    ),
    "checkpoint": (
        True,
        "Updating 'FrameworkInfo.checkpoint' is unsupported; attempted to update from 'false' to 'true'",
    ),
}


def test_an_update_may_not_change_what_its_tasks_rest_on(master: Master) -> None:
    with master.framework(failover_timeout=60) as framework:

        def update(info: dict[str, Any]) -> tuple[int, bytes]:
            return framework.call("UPDATE_FRAMEWORK", update_framework={"framework_info": info})

        whole = {**framework.info, "id": framework.id}
        for field, (value, message) in FIXED.items():
            expected = f"FrameworkInfo update is not valid: {message}".encode()
            assert update({**whole, field: value}) == (400, expected)
        assert update({**whole, "roles": ["x"]}) == (
            400,
            (
                b"Supplied FrameworkInfo is not valid: 'FrameworkInfo.roles' must not be set when the framework is not "
                b"MULTI_ROLE capable"
            ),
        )
        differs = "'framework_id' differs from 'update_framework.framework_info.id'"
        assert update(framework.info) == (400, f"Failed to validate scheduler::Call: {differs}".encode())
        assert update({**whole, "name": "another", "failover_timeout": 61.0}) == (200, b"")
        known = master.state_of(framework.id["value"])
        assert known is not None
        assert (known["name"], known["failover_timeout"]) == ("another", 61.0)


def test_an_id_of_ones_own_is_taken(master: Master) -> None:
    """As a new master takes a framework that it does not know (a master's failover)."""
    name = unique("my-own-id")
    with master.framework(id={"value": name}, failover_timeout=60) as framework:
        assert framework.id == {"value": name}
        assert framework.offer()["framework_id"] == {"value": name}
