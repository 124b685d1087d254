"""Replays a recorded scheduler's requests against the pure master and pairs what both sent.

The recordings in `traces/` are excerpts of the traffic of a real Mesos 1.11, one JSON object a line: requests,
responses, events (an offer as [id, agent, hostname, resources, has allocation_info]), ends of streams, notes. UUIDs
are named id0, id1, ...; `t` is in seconds. What agents did is played as recorded: an update that came from an executor
or an agent is handed to the master at that moment. Ids of the two sides are matched as they appear.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from roujiamo.mesos.master import agents, frameworks, reregistration
from roujiamo.mesos.master.http_api import HttpApi
from roujiamo.mesos.master.http_messages import Request, Response
from roujiamo.mesos.master.quantities import Quantities
from roujiamo.mesos.master.state import AgentInfo, CloseStream, Event, MasterState, Settings, ToAgent

TRACES = Path(__file__).parent / "traces"
TOTAL = Quantities({"cpus": 4000, "mem": 4_096_000, "disk": 10_240_000, "ports": ((31000, 32000),)})
START = 1_000_000.0


def make_master(
    settings: Settings | None = None, now: float = START, numbers: Iterator[int] | None = None
) -> MasterState:
    """A master, with ids that only count and agents in the order in which they came."""
    numbers = numbers or iter(range(1_000_000))

    def new_uuid() -> str:
        return f"uuid-{next(numbers)}"

    def keep_order(items: list[Any]) -> None:
        pass

    return MasterState(settings or Settings(), ("127.0.0.1", 5050), now, new_uuid, keep_order)


def add_agent(state: MasterState, hostname: str, now: float = START) -> str:
    """Add an agent with 4 cpus and 4 GB; return its id."""
    return agents.add(state, AgentInfo(hostname, "127.0.1.1", 5051, TOTAL, []), now).id


class Replay:
    """One recording being replayed. `pairs` and `streams` hold what was compared when `run` is through."""

    def __init__(
        self,
        name: str,
        settings: Settings | None = None,
        credentials: dict[str, str] | None = None,
        on_note: Callable[[Replay, str], None] | None = None,
    ) -> None:
        self.records = [json.loads(line) for line in (TRACES / f"{name}.jsonl").read_text().splitlines()]
        self._settings = settings
        self._numbers = iter(range(1_000_000))
        self.state = make_master(settings, START, self._numbers)
        self.api = HttpApi(self.state, credentials, {})
        self.now = START
        self.ids: dict[str, str] = {}
        self.agents: dict[str, str] = {}
        self.silent: set[str] = set()
        # (the request, the recorded response, our response)
        self.pairs: list[tuple[dict[str, Any], dict[str, Any], Response]] = []
        # Of each stream, by its tag: what was recorded, and what our master sent.
        self.recorded: dict[str, list[dict[str, Any]]] = {}
        self.sent: dict[str, list[dict[str, Any]]] = {}
        self._tags: dict[str, str] = {}
        self._played: set[str] = set()
        self._on_note = on_note
        for hostname, recorded_id in sorted(self._recorded_agents().items()):
            self.agents[hostname] = self.ids[recorded_id] = add_agent(self.state, hostname)

    def run(self) -> Replay:
        """Play everything."""
        request: dict[str, Any] | None = None
        answer: Response | None = None
        for record in self.records:
            self._advance(START + record["t"])
            if "request" in record:
                request, answer = record, self._ask(record)
            elif "status" in record:
                assert request is not None
                assert answer is not None
                self._pair(request, record, answer)
            elif "event" in record:
                self._see(record["tag"], record["event"])
            elif "end" in record:
                self._see(record["tag"], {"type": "END"})
                if record["end"] != "zero chunk":
                    # The recorded scheduler closed it.
                    stream_id = next(one for one, tag in self._tags.items() if tag == record["tag"])
                    frameworks.stream_closed(self.state, stream_id, self.now)
                    self.sent[record["tag"]].append({"type": "END"})
            elif self._on_note is not None:
                self._on_note(self, record["note"])
            self._collect()
        return self

    def tell(self, hostname: str, message: dict[str, Any]) -> None:
        """Have an agent say something to the master."""
        agents.receive(self.state, self.agents[hostname], message, self.now)

    def fail_over(self) -> None:
        """Have the master killed and another one lead, which knows from its registry what agents there were."""
        self.state = make_master(self._settings, self.now, self._numbers)
        self.api = HttpApi(self.state, None, {})
        reregistration.lead(self.state, list(self.agents.values()), self.now)

    def translated(self, value: Any) -> Any:
        """The recorded `value` with our ids in place of the recorded ones."""
        if isinstance(value, dict):
            return {key: self.translated(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.translated(item) for item in value]
        if isinstance(value, str):
            if value in self.ids:
                return self.ids[value]
            # Inside sentences, longest first: id1-O1 is the beginning of id1-O12.
            for recorded, ours in sorted(self.ids.items(), key=lambda pair: -len(pair[0])):
                value = (
                    value.replace(recorded, ours)
                    if "-" in recorded
                    else value.replace(f"'{recorded}'", f"'{ours}'")
                )
        return value

    def _recorded_agents(self) -> dict[str, str]:
        return {
            offer[2]: offer[1]
            for record in self.records
            if record.get("event", {}).get("type") == "OFFERS"
            for offer in record["event"]["offers"]
        }

    def _advance(self, when: float) -> None:
        while (deadline := self.state.timers.next_deadline) is not None and deadline <= when:
            self.now = max(self.now, deadline)
            agents.tick(self.state, self.now)
            self._collect()
        self.now = max(self.now, when)

    def _ask(self, record: dict[str, Any]) -> Response:
        method, _, target = record["request"].partition(" ")
        path, _, _ = target.partition("?")
        body = record["body"]
        raw = body.encode() if isinstance(body, str) else json.dumps(self.translated(body)).encode()
        headers = self.translated(record["headers"])
        answer = self.api.answer(Request(method, path, {}, headers, b"" if body is None else raw), self.now)
        if answer.stream_id is not None:
            tag = (record["tag"] or "").removeprefix("SUBSCRIBE ")
            self._tags[answer.stream_id] = tag
            self.sent.setdefault(tag, [])
        self._collect()
        return answer

    def _pair(self, request: dict[str, Any], recorded: dict[str, Any], ours: Response) -> None:
        self.pairs.append((request, recorded, ours))
        if ours.stream_id is not None:
            self.ids[recorded["headers"]["Mesos-Stream-Id"]] = ours.stream_id

    def _see(self, tag: str, event: dict[str, Any]) -> None:
        """Play what must have happened for this event, and match its ids with those of ours."""
        self._collect()
        status = event.get("update", {}).get("status", {})
        if "uuid" in status and status["uuid"] not in self._played:
            self._played.add(status["uuid"])
            agent_id = self.ids[status["agent_id"]["value"]]
            framework_id = self.state.streams[next(one for one, name in self._tags.items() if name == tag)]
            update = {"type": "update", "framework_id": framework_id, "status": self.translated(status)}
            agents.receive(self.state, agent_id, update, self.now)
        elif event["type"] == "OFFERS" and not self._unmatched(tag):
            # An allocation's beat may be up to an interval away from the recorded one.
            self._advance(self.now + self.state.settings.allocation_interval_seconds)
        self._collect()
        self.recorded.setdefault(tag, []).append(event)
        if event["type"] == "SUBSCRIBED":
            ours = next(one for one in self.sent[tag] if one["type"] == "SUBSCRIBED")["subscribed"]
            theirs = event["subscribed"]
            self.ids[theirs["framework_id"]["value"]] = ours["framework_id"]["value"]
            self.ids[theirs["master_info"]["id"]] = ours["master_info"]["id"]
        elif event["type"] == "OFFERS":
            ours_by_agent = {offer["agent_id"]["value"]: offer for offer in self._unmatched(tag)}
            for offer_id, agent_id, *_ in event["offers"]:
                offer = ours_by_agent.get(self.ids[agent_id])
                if offer is not None:
                    self.ids[offer_id] = offer["id"]["value"]

    def _unmatched(self, tag: str) -> list[dict[str, Any]]:
        known = set(self.ids.values())
        return [
            offer
            for event in self.sent.get(tag, [])
            if event["type"] == "OFFERS"
            for offer in event["offers"]["offers"]
            if offer["id"]["value"] not in known
        ]

    def _collect(self) -> None:
        for action in self.state.take_actions():
            if isinstance(action, ToAgent):
                hostname = next(name for name, one in self.agents.items() if one == action.agent_id)
                if action.message["type"] == "ping" and hostname not in self.silent:
                    self.tell(hostname, {"type": "pong"})
            elif isinstance(action, Event):
                self.sent[self._tags[action.stream_id]].append(action.event)
            elif isinstance(action, CloseStream):
                self.sent[self._tags[action.stream_id]].append({"type": "END"})


def in_order(events: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Events by what they are about: each task's updates in order, and each other kind of event."""
    found: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        about = event["type"]
        if about == "UPDATE":
            about = "UPDATE " + event["update"]["status"]["task_id"]["value"]
        found.setdefault(about, []).append(event)
    yield from sorted(found.items())
