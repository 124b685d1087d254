"""The timeline of a session: what its moments say, as a Chrome trace and as a picture."""

import json
import os
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from roujiamo.run.timeline_file import write_timeline
from roujiamo.session import timeline
from roujiamo.session.timeline import Moment, Timeline, arrange, as_trace
from roujiamo.session.timeline_picture import as_svg, duration

START = 1_000_000.0


def moments(*, hosts: int = 2, job_seconds: float = 1.0) -> list[Moment]:
    """A launch over so many hosts, a tenth of a second a step, and a command of `job_seconds` on each."""
    told = [
        Moment(START, timeline.BEGUN),
        Moment(START + 0.1, timeline.DRIVER_STARTED),
        Moment(START + 0.2, timeline.SUBSCRIBED),
        Moment(START + 0.8, timeline.HOSTS_READY),
        Moment(START + 0.9, timeline.PROGRAM_STARTED),
        Moment(START + 1.1 + job_seconds, timeline.PROGRAM_ENDED),
        Moment(START + 1.3 + job_seconds, timeline.CLOSED),
    ]
    for number in range(1, hosts + 1):
        task, host = f"s.{number}", f"agent{number}"
        steps = (timeline.OFFERED, timeline.ACCEPTED, timeline.STARTING, timeline.RUNNING)
        told += [Moment(START + 0.3 + 0.1 * step, what, task, host) for step, what in enumerate(steps)]
        told += [
            Moment(START + 0.65, timeline.CALLED_BACK, task, host),
            Moment(START + 0.8, timeline.READY, task, host),
            Moment(START + 1.0, timeline.COMMAND_STARTED, task, host, 1, "orted <&>"),
            Moment(START + 1.0 + job_seconds, timeline.COMMAND_ENDED, task, host, 1),
            Moment(START + 1.2 + job_seconds, timeline.ENDED, task, host),
        ]
    return told


def test_a_program_may_be_called_anything(tmp_path: Path) -> None:
    """Neither what is no UTF-8 nor a control character keeps its file from being written, and read."""
    name = os.fsdecode(b"\xff\x01\x1b[1m.out")
    for ending in ("svg", "json"):
        path = tmp_path / f"timeline.{ending}"
        assert write_timeline(str(path), moments(), name, f"{name} over 2 hosts") is None
    ET.parse(tmp_path / "timeline.svg")
    json.loads((tmp_path / "timeline.json").read_text("utf-8"))


def spans(line: timeline.Timeline) -> list[tuple[str, float]]:
    return [(each.name, round(each.end - each.start, 3)) for each in line.phases]


def test_the_phases_follow_one_another_and_make_up_the_whole() -> None:
    """What none of them covered would be time that nobody answers for."""
    line = arrange(reversed(moments()), "mpiexec")
    assert [name for name, _ in spans(line)] == [
        "start",
        "subscribe",
        "offers",
        "tasks",
        "call-backs",
        "start of mpiexec",
        "mpiexec",
        "end",
    ]
    assert sum(seconds for _, seconds in spans(line)) == pytest.approx(line.end - line.start)


def test_a_host_shows_what_it_did_between_its_moments() -> None:
    """Hosts stand in the order of their names, numbers as numbers."""
    line = arrange(moments(hosts=11), "mpiexec")
    assert [each.name for each in line.hosts] == [f"agent{number}" for number in range(1, 12)]
    host = line.hosts[0]
    assert [(each.name, round(each.end - each.start, 2)) for each in host.spans] == [
        ("offer held", 0.1),
        ("Mesos starts the task", 0.1),
        ("the task starts", 0.15),
        ("the proxy starts", 0.15),
        ("host is there", 1.4),
    ]
    assert [(each.name, round(each.end - each.start, 3)) for each in host.commands] == [("orted <&>", 1.0)]


def test_a_host_that_failed_ends_where_it_did() -> None:
    """A timeline is wanted most of all where a launch did not work."""
    told = [each for each in moments(hosts=1) if each.what in (timeline.BEGUN, timeline.OFFERED)]
    told += [
        Moment(START + 0.4, timeline.ACCEPTED, "s.1", "agent1"),
        Moment(START + 0.9, timeline.ENDED, "s.1", "agent1"),
    ]
    line = arrange(told, "mpiexec")
    assert [(each.name, round(each.end - START, 2)) for each in line.hosts[0].spans] == [
        ("offer held", 0.4),
        ("Mesos starts the task", 0.9),
    ]
    assert spans(line) == [("end", 0.9)]


def test_commands_that_overlap_have_lanes_of_their_own() -> None:
    """A trace's events on one thread have to be one inside the other, or one after another."""
    told = []
    for number, (start, end) in enumerate([(1.0, 3.0), (2.0, 4.0), (3.5, 5.0)], 1):
        told.append(Moment(start, timeline.COMMAND_STARTED, "s.1", "a", number, f"c{number}"))
        told.append(Moment(end, timeline.COMMAND_ENDED, "s.1", "a", number))
    (host,) = arrange(told, "sh").hosts
    assert [(each.name, each.lane) for each in host.commands] == [("c1", 0), ("c2", 1), ("c3", 0)]


def test_the_trace_is_one_that_perfetto_opens() -> None:
    """Complete events with microseconds, and a name for each thread that has some."""
    document = json.loads(as_trace(arrange(moments(), "mpiexec")))
    events = document["traceEvents"]
    named = {(each["pid"], each["tid"]) for each in events if each["name"] == "thread_name"}
    complete = [each for each in events if each["ph"] == "X"]
    assert {(each["pid"], each["tid"]) for each in complete} == named
    assert all(each["ts"] >= 0 and each["dur"] >= 0 for each in complete)
    assert {"start", "mpiexec", "the proxy starts", "orted <&>"} <= {each["name"] for each in complete}


@pytest.mark.parametrize("hosts", [0, 2, 300])
def test_the_picture_is_whole_by_itself_and_holds_every_host(hosts: int) -> None:
    """No script, no font, no file from elsewhere; names may hold what XML does not."""
    line = arrange(moments(hosts=hosts), "mpiexec")
    text = as_svg(line, "a <b> & c")
    root = ET.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "href" not in text
    assert "url(" not in text
    titles = [each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}title")]
    assert sum(title.endswith("orted <&> (1 s)") for title in titles) == hosts


def test_nothing_at_all_makes_an_empty_picture() -> None:
    """A session that failed at once has a timeline too."""
    assert arrange([], "mpiexec") == Timeline(0.0, 0.0, (), ())
    ET.fromstring(as_svg(arrange([Moment(START, timeline.BEGUN)], "mpiexec"), "t"))


def test_a_job_of_hours_does_not_squeeze_its_launch_to_nothing() -> None:
    """The stretch in which nothing happens is cut, and says how long it was."""

    def width_of_phase(text: str, name: str) -> float:
        for rectangle in ET.fromstring(text).iter("{http://www.w3.org/2000/svg}rect"):
            title = rectangle.find("{http://www.w3.org/2000/svg}title")
            if title is not None and (title.text or "").startswith(name):
                return float(rectangle.get("width", "0"))
        raise AssertionError(name)

    text = as_svg(arrange(moments(job_seconds=7500), "mpiexec"), "t")
    assert "⋯ 2 h 5 min ⋯" in text
    assert width_of_phase(text, "subscribe") > 20


def test_durations_are_said_as_people_say_them() -> None:
    """Three digits are enough."""
    told = [duration(seconds) for seconds in (0.0124, 0.9999, 1.524, 119.9, 200, 240, 7500)]
    assert told == ["12 ms", "1 s", "1.52 s", "120 s", "3 min 20 s", "4 min", "2 h 5 min"]
