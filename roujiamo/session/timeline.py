"""What happened in a session, and when: per host from its offer to its end, and the session's own phases.

Pure. The broker tells moments to the session's owner (`roujiamo run`, `roujiamo alloc`), which adds its own and has a
picture made of them: here a Chrome trace (the JSON that Perfetto and chrome://tracing open), in `timeline_picture` an
SVG. Trusts the moments' types no further than it must: what is missing is left out.

Times are seconds since the epoch, of one machine's clock: the launch host's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from roujiamo.session.names import natural_order

# A host's moments, in their order.
OFFERED = "offered"
ACCEPTED = "accepted"
STARTING = "starting"
RUNNING = "running"
CALLED_BACK = "called back"
READY = "ready"
ENDED = "ended"
# A remote command's.
COMMAND_STARTED = "command started"
COMMAND_ENDED = "command ended"
# The session's, in their order; the first and the last three are its owner's.
BEGUN = "begun"
DRIVER_STARTED = "driver started"
SUBSCRIBED = "subscribed"
HOSTS_READY = "hosts ready"
PROGRAM_STARTED = "program started"
PROGRAM_ENDED = "program ended"
CLOSED = "closed"

# What a host is doing between two of its moments: (name, from, to).
_HOST_SPANS = (
    ("offer held", OFFERED, ACCEPTED),
    ("Mesos starts the task", ACCEPTED, STARTING),
    ("the task starts", STARTING, CALLED_BACK),
    ("the proxy starts", CALLED_BACK, READY),
    ("host is there", READY, ENDED),
)


class Moment(NamedTuple):
    """Something that happened at `at`; `task` "" is the session itself. `number` and `text` are a command's."""

    at: float
    what: str
    task: str = ""
    host: str = ""
    number: int = 0
    text: str = ""

    @classmethod
    def of_event(cls, event: Mapping[str, Any]) -> Moment:
        """Return the moment that an event of the broker tells."""
        return cls(
            float(event["at"]),
            str(event["what"]),
            str(event.get("task", "")),
            str(event.get("host", "")),
            int(event.get("number", 0)),
            str(event.get("text", "")),
        )


class Span(NamedTuple):
    """From `start` to `end`; `text` says more. `lane`: of those that overlap, each has its own, from 0."""

    name: str
    start: float
    end: float
    text: str = ""
    lane: int = 0


class HostLine:
    """One host's task: its moments, what it did between them, and the remote commands that ran there."""

    def __init__(self, name: str, task: str) -> None:
        self.name = name
        self.task = task
        self.moments: dict[str, float] = {}
        self.spans: list[Span] = []
        self.commands: list[Span] = []


class Timeline(NamedTuple):
    """The whole: `phases` of the session one after another, `hosts` in the order of their names."""

    start: float
    end: float
    phases: tuple[Span, ...]
    hosts: tuple[HostLine, ...]


def arrange(moments: Iterable[Moment], program: str) -> Timeline:
    """Return the timeline of these moments; `program` is what the owner ran (mpiexec)."""
    ordered = sorted(moments, key=lambda each: each.at)
    if not ordered:
        return Timeline(0.0, 0.0, (), ())
    start, end = ordered[0].at, ordered[-1].at
    session: dict[str, float] = {}
    hosts: dict[str, HostLine] = {}
    running: dict[tuple[str, int], Moment] = {}
    for moment in ordered:
        if not moment.task:
            session.setdefault(moment.what, moment.at)
            continue
        line = hosts.setdefault(moment.task, HostLine(moment.host, moment.task))
        if moment.what == COMMAND_STARTED:
            running[(moment.task, moment.number)] = moment
        elif moment.what == COMMAND_ENDED:
            begun = running.pop((moment.task, moment.number), None)
            if begun is not None:
                line.commands.append(Span(begun.text, begun.at, moment.at))
        else:
            line.moments.setdefault(moment.what, moment.at)
    for (task, _), begun in running.items():
        line = hosts[task]
        line.commands.append(Span(begun.text, begun.at, line.moments.get(ENDED, end)))
    for line in hosts.values():
        line.spans = list(_host_spans(line.moments, end))
        line.commands = _in_lanes(line.commands)
    lines = sorted(
        hosts.values(), key=lambda each: (natural_order(each.name), each.moments.get(ACCEPTED, 0.0))
    )
    return Timeline(start, end, tuple(_phases(session, lines, start, end, program)), tuple(lines))


def _host_spans(moments: Mapping[str, float], end: float) -> Iterator[Span]:
    over = moments.get(ENDED, end)
    for name, first, last in _HOST_SPANS:
        if first in moments:
            # A host that failed on the way has not all of its moments; an update may come after the call-back.
            until = min(moments.get(last, over), over)
            if STARTING not in moments and first == ACCEPTED:
                until = min(moments.get(CALLED_BACK, over), over)
            yield Span(name, moments[first], max(until, moments[first]))


def _phases(
    session: Mapping[str, float], hosts: Iterable[HostLine], start: float, end: float, program: str
) -> Iterator[Span]:
    """The session's phases: each from the end of the one before to its own last moment."""
    lived = [each.moments for each in hosts if READY in each.moments]
    allocated = max((each.get(ACCEPTED, start) for each in lived), default=None)
    running = max((each[RUNNING] for each in lived if RUNNING in each), default=None)
    ready = session.get(HOSTS_READY)
    if ready is not None:
        # Mesos tells of a running task by way of its master, which may take longer than the call-back.
        running = None if running is None else min(running, ready)
    ends = (
        ("start", session.get(DRIVER_STARTED)),
        ("subscribe", session.get(SUBSCRIBED)),
        ("offers", allocated),
        ("tasks", running),
        ("call-backs", ready),
        (f"start of {program}", session.get(PROGRAM_STARTED)),
        (program, session.get(PROGRAM_ENDED)),
        ("end", session.get(CLOSED)),
    )
    at = start
    for name, until in ends:
        if until is not None:
            yield Span(name, at, max(at, until))
            at = max(at, until)
    if at < end and CLOSED not in session:
        yield Span("end", at, end)


def _in_lanes(commands: Iterable[Span]) -> list[Span]:
    """Give those that overlap lanes of their own."""
    free_at: list[float] = []
    placed = []
    for each in sorted(commands, key=lambda each: (each.start, each.end)):
        lane = next((lane for lane, at in enumerate(free_at) if at <= each.start), len(free_at))
        if lane == len(free_at):
            free_at.append(each.end)
        else:
            free_at[lane] = each.end
        placed.append(Span(each.name, each.start, each.end, each.text, lane))
    return placed


def as_trace(timeline: Timeline) -> str:
    """Return the timeline as a Chrome trace ("Trace Event Format": complete events, microseconds).

    Process 1 is the session, process 2 its hosts: a thread for each, and one more for each lane of its commands.
    """
    events: list[dict[str, Any]] = [
        _name(1, 0, "process_name", "session"),
        _name(1, 1, "thread_name", "phases"),
    ]
    events += [_complete(timeline, span, 1, 1) for span in timeline.phases]
    events.append(_name(2, 0, "process_name", "hosts"))
    thread = 0
    for line in timeline.hosts:
        thread += 1
        events.append(_name(2, thread, "thread_name", line.name))
        task = {
            "task": line.task,
            **{what: round(at - timeline.start, 6) for what, at in line.moments.items()},
        }
        events += [_complete(timeline, span, 2, thread, task) for span in line.spans]
        base = thread
        for span in line.commands:
            if base + 1 + span.lane > thread:
                thread = base + 1 + span.lane
                events.append(_name(2, thread, "thread_name", f"{line.name}, commands"))
            events.append(_complete(timeline, span, 2, base + 1 + span.lane, {"task": line.task}))
    document = {
        "displayTimeUnit": "ms",
        "otherData": {"start": timeline.start, "hosts": len(timeline.hosts)},
        "traceEvents": events,
    }
    return json.dumps(document, indent=None, separators=(",", ":")) + "\n"


def _complete(
    timeline: Timeline, span: Span, process: int, thread: int, details: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "name": span.name,
        "ph": "X",
        "ts": round((span.start - timeline.start) * 1e6),
        "dur": round((span.end - span.start) * 1e6),
        "pid": process,
        "tid": thread,
        "args": dict(details or {}),
    }


def _name(process: int, thread: int, what: str, name: str) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": process, "tid": thread, "args": {"name": name}}
