"""Status updates: their order, their repetition until acknowledged, and heartbeats beside them."""

from __future__ import annotations

import base64
import uuid

from tests.conformance.conftest import Master, unique
from tests.support.scheduler import task


def test_only_the_first_unacknowledged_update_is_sent_and_it_comes_again(master: Master) -> None:
    """As long as it takes; and heartbeats come all the while, at the interval that was promised."""
    name = unique("t")
    with master.framework(acknowledges=False) as framework:
        framework.launch(name, "exit 3")
        first = framework.update(name, ("TASK_STARTING",))
        seen = len(framework.events)
        again = framework.update(
            name, ("TASK_STARTING",), seconds=5 + 2 * master.update_retry_seconds, since=seen
        )
        assert again == first
        assert framework.states(name) == ["TASK_STARTING", "TASK_STARTING"]
        # One that was never sent, and one that is nobody's, acknowledge nothing.
        other = {**first, "uuid": base64.b64encode(uuid.uuid4().bytes).decode()}
        framework.acknowledge(other)
        framework.acknowledge({**first, "task_id": {"value": unique("other")}})
        for state in ("TASK_RUNNING", "TASK_FAILED"):
            framework.read_what_is_there()
            assert framework.states(name)[-1] == first["state"]
            framework.acknowledge(first)
            first = framework.update(name, (state,))
        framework.acknowledge(first)
        interval = framework.events[0]["subscribed"]["heartbeat_interval_seconds"]
        assert interval <= 20, "heartbeats too rare to wait for"

        def heartbeats() -> int:
            return sum(event["type"] == "HEARTBEAT" for event in framework.events)

        framework.wait_for(lambda _: heartbeats() >= 2, seconds=2 * interval + 5)


def test_updates_of_different_tasks_do_not_wait_for_each_other(master: Master) -> None:
    slow, quick = unique("slow"), unique("quick")
    with master.framework(acknowledges=False) as framework:
        offer = framework.offer()
        framework.accept(offer, task(slow, "true", offer), task(quick, "true", offer))
        for state in ("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"):
            framework.acknowledge(framework.update(quick, (state,)))
        framework.update(slow, ("TASK_STARTING",))
        assert framework.states(slow) == ["TASK_STARTING"]


def test_a_task_keeps_its_place_until_its_end_is_acknowledged(master: Master) -> None:
    """Its resources are free at once, its id is not."""
    name = unique("t")
    with master.framework(acknowledges=False) as framework:
        framework.launch(name, "true")
        for state in ("TASK_STARTING", "TASK_RUNNING"):
            framework.acknowledge(framework.update(name, (state,)))
        over = framework.update(name, ("TASK_FINISHED",))
        known = master.state_of(framework.id["value"])
        assert known is not None
        assert [(one["id"], one["state"]) for one in known["tasks"]] == [(name, "TASK_FINISHED")]
        assert known["used_resources"]["cpus"] == 0
        before = len(framework.events)
        framework.launch(name, "true")
        status = framework.update(name, ("TASK_ERROR",), since=before)
        assert status["message"] == f"Task has duplicate ID: {name}"
        framework.acknowledge(over)
        known = master.state_of(framework.id["value"])
        assert known is not None
        assert name in [one["id"] for one in known["completed_tasks"]]
