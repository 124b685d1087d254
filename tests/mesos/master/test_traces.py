"""The pure master answers a recorded scheduler as the recorded Mesos 1.11 did, field by field, ids and times aside."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from roujiamo.mesos.master import agents
from roujiamo.mesos.master.http_messages import Response
from roujiamo.mesos.master.quantities import from_json
from roujiamo.mesos.master.state import Settings
from tests.mesos.master.replay import Replay, in_order

# Fields that are times, or names of runs that only the real agents had.
TIMES = {"timestamp", "nanoseconds"}


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: 0 if key in TIMES else without_times(item) for key, item in value.items()}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def check_responses(replay: Replay, skipped: tuple[str, ...] = ()) -> None:
    """Every response has the recorded status, headers and body."""
    for request, recorded, ours in replay.pairs:
        if request["request"].endswith(skipped):
            continue
        expected = replay.translated(recorded)
        where = f"at {request['t']}: {request['request']} {json.dumps(request['body'])[:300]}"
        assert ours.status == expected["status"], f"{where} answered {ours.body!r}"
        headers = {key: value for key, value in expected["headers"].items() if key != "Transfer-Encoding"}
        assert ours.headers == headers, where
        if ours.stream_id is None:
            assert body_of(ours) == expected["body"], where


def body_of(response: Response) -> Any:
    if response.headers.get("Content-Type") == "application/json":
        return json.loads(response.body)
    return response.body.decode()


def check_streams(replay: Replay, ignored: tuple[str, ...] = ()) -> None:
    """Every stream got the recorded events: each task's updates in order, the same number of the others."""
    for tag, recorded in replay.recorded.items():
        expected = dict(in_order([replay.translated(event) for event in recorded]))
        ours = dict(in_order(replay.sent[tag]))
        for about in {*expected, *ours} - {"OFFERS", *ignored}:
            assert without_times(ours.get(about)) == without_times(expected.get(about)), f"{tag}: {about}"


def offers_in(replay: Replay, tag: str) -> tuple[Counter[Any], Counter[Any]]:
    """What was offered on a stream, recorded and by us: agent, resources, whether with allocation_info."""
    recorded: Counter[Any] = Counter()
    ours: Counter[Any] = Counter()
    for event in replay.recorded[tag]:
        if event["type"] == "OFFERS":
            recorded.update((host, text, allocated) for _, _, host, text, allocated in event["offers"])
    for event in replay.sent[tag]:
        if event["type"] == "OFFERS":
            for offer in event["offers"]["offers"]:
                text = "; ".join(sorted(from_json(offer["resources"]).text().split("; ")))
                ours[(offer["hostname"], text, "allocation_info" in offer)] += 1
    return recorded, ours


def test_basic_life() -> None:
    """Subscribe, launch, acknowledge, reconcile, suppress, revive, kill, heartbeat, teardown, and calls after it."""
    replay = Replay("basic_life").run()
    check_responses(replay, skipped=("/version",))
    check_streams(replay)
    recorded, ours = offers_in(replay, "A")
    assert ours == recorded


def test_bad_calls() -> None:
    """Calls that are no calls, and FrameworkInfos that are refused, each in the master's own words."""
    replay = Replay("bad_calls").run()
    check_responses(replay)
    check_streams(replay)


def test_bad_tasks() -> None:
    """Offers used wrongly, bad TaskInfos, stream ids, tasks that fail in each way, failover to a second stream."""
    replay = Replay("bad_tasks").run()
    check_responses(replay)
    check_streams(replay)


def test_authentication() -> None:
    """HTTP basic authentication of frameworks, and what stays open without it."""
    replay = Replay("authentication", credentials={"labp": "labs"}).run()
    check_responses(replay, skipped=("/version",))
    check_streams(replay)


def test_failover() -> None:
    """Streams that close: removal at once; return in time, with old updates again; removal after the timeout.

    And a master that is killed: the next one takes the framework, and says nothing of tasks whose agents are not back.
    """

    def on_note(replay: Replay, note: str) -> None:
        if "start master" in note:
            replay.fail_over()

    replay = Replay("failover", on_note=on_note).run()
    check_responses(replay)
    check_streams(replay)


def test_agent_loss() -> None:
    """Agents that are killed, come back, are stopped and go on, lose an executor, unregister, are marked gone."""

    def on_note(replay: Replay, note: str) -> None:
        if "KILL 2" in note:
            replay.silent.add("mnode2")
            agents.disconnected(replay.state, replay.agents["mnode2"], replay.now)
        elif "start 2" in note:
            replay.silent.clear()
            replay.tell("mnode2", {"type": "pong"})
        elif "STOP 3" in note:
            replay.silent.add("mnode3")
        elif "CONT 3" in note:
            replay.silent.clear()
            replay.tell("mnode3", {"type": "pong"})
        elif "SIGUSR1" in note:
            replay.tell("mnode3", {"type": "unregister"})

    settings = Settings(agent_ping_seconds=1.0, agent_ping_timeouts=2)
    replay = Replay("agent_loss", settings, on_note=on_note).run()
    check_responses(replay)
    # Which of two frameworks an agent is offered to, and so whose offer is rescinded, is the allocator's choice.
    check_streams(replay, ignored=("RESCIND",))


def test_misc() -> None:
    """Kill policies, TEARDOWN of the stubborn, odd names and environments, a time limit.

    Left out of the recording: a group of tasks and a health check, which the local cluster refuses, and 60 kB of an
    environment variable.
    """
    replay = Replay("misc").run()
    check_responses(replay)
    check_streams(replay)
