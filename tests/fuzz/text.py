"""The fuzz targets of what others speak: command lines, HTTP, RecordIO, a local master's JSON, a driver's lines.

Each function plays one case, as those of `tests.fuzz.wire` do.
"""

from __future__ import annotations

import functools
import getopt
import json
import random
from typing import Any

from roujiamo.driver.lines import parse_call, parse_configuration
from roujiamo.errors import RoujiamoError, UsageError
from roujiamo.local.http_request import BadRequest, RequestParser
from roujiamo.mesos.http_response import MAX_HEADERS, MAX_LINE, ResponseParser
from roujiamo.mesos.master import agents
from roujiamo.mesos.master.http_api import HttpApi
from roujiamo.mesos.master.http_messages import Request, Response
from roujiamo.mesos.master.state import MasterState
from roujiamo.mesos.recordio import RecordIODecoder, encode
from roujiamo.protocol import rsh
from roujiamo.session.launcher_line import parse_hostfile, parse_line
from tests.fuzz.mutation import mutated, mutated_json, pieces
from tests.fuzz.wire import MAX_SENTENCE, SMALL, refusal
from tests.mesos.master.replay import START, TRACES, add_agent, make_master

COMMAND_LINES = [
    b"agent1 orted -mca ess env -mca orte_ess_jobid 1",
    b"-x -o StrictHostKeyChecking=no -l user agent1 -- hydra_pmi_proxy --control-port a:1",
    b"-p 22 ssh://user@[::1]:2222/ -n true",
    b"-fnq user@agent1.example.org echo a b",
    b"--help",
]
RESPONSES = [
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nMesos-Stream-Id: 1\r\n\r\n5\r\n1\n{}1\r\n0\r\nA: b\r\n\r\n",
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 5\r\n\r\nwrong",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.0 503 \r\n\r\nuntil the end",
]
REQUESTS = [
    b"GET /state?jsonp=a%20b HTTP/1.1\r\nHost: a:5050\r\n\r\n",
    b'POST /api/v1/scheduler HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n{"a"',
    b"POST http://a/t HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\na=b",
]
RECORDS = [
    b"".join(map(encode, ([b'{"type":"HEARTBEAT"}'] * 3, [b"", b"x" * 150])[which])) for which in (0, 1)
]
LAUNCHER_LINES = [
    b"mpiexec -H a:2,b --hostfile /h -n 4 ./a.out : -host c -n 1 ./b.out",
    b"mpirun -hosts a:2,b:3 -ppn 2 -f /hosts -iface lo ./a.out",
    b"prterun --map-by ppr:2:node --host x:slots=3 -np 2 sh -c exit",
]
HOSTFILES = [b"a slots=2 max_slots=4\nb:3\n# no host\nuser@c cpu=2\n", b"agent1\nagent2:2 binding=user\n"]
LINES = [
    b'{"master": "a:5050,b:5050", "framework": {"name": "x"}, "principal": "p", "secret": "s3cret", "limits": {}}',
    b'{"call": "accept", "offer_ids": ["1"], "operations": [], "refuse_seconds": 5.0}',
]


def by_getopt(words: list[bytes]) -> tuple[bytes, bytes] | None:
    """The destination and the command as getopt(3) finds them, which ssh.c uses; None where it refuses the line."""
    valued = [letter + b":" for letter in rsh.VALUED]
    letters = b"".join([*rsh.FLAGS, rsh._FLAGS_OBEYED, *valued]).decode()
    rest = [word.decode("latin-1") for word in words]
    destination = None
    try:
        while True:
            before = rest
            options, rest = getopt.getopt(before, letters)
            taken = before[: len(before) - len(rest)]
            # `--` ends the options, unless it is the value of one.
            is_value = bool(options) and options[-1][1] == "--" and taken[-2][-1:] == options[-1][0][1:]
            is_end = taken[-1:] == ["--"] and not is_value
            if destination is None:
                if not rest:
                    return None
                destination, *rest = rest
                if not is_end:
                    continue
            return destination.encode("latin-1"), " ".join(rest).encode("latin-1")
    except getopt.GetoptError:
        return None


def command_line(chance: random.Random) -> None:
    """ssh's grammar: an invocation that can be carried out, or one sentence and 255; as getopt(3) reads it, too."""
    words = mutated(chance, chance.choice(COMMAND_LINES), COMMAND_LINES).split(b" ")
    reference = by_getopt(words)
    notes: list[str] = []
    try:
        invocation = rsh.parse_arguments(words)
    except rsh.ArgumentError as error:
        sentence = str(error)
        assert reference is None or _is_refused(*reference)
    else:
        sentence = "none"
        if invocation.action == rsh.RUN:
            assert reference is not None
            assert (invocation.host, invocation.command) == (
                rsh.parse_destination(reference[0], notes),
                reference[1],
            )
    assert sentence
    assert len(sentence) <= 4 * MAX_SENTENCE
    assert "\n" not in sentence
    if sentence != "none":
        return
    if invocation.action == rsh.RUN:
        assert 0 < len(invocation.host) <= rsh.MAX_HOST
        assert invocation.host[:1] != b"-"
        assert 0 < len(invocation.command) <= rsh.MAX_COMMAND
    assert all(isinstance(note, str) and "\n" not in note for note in invocation.notes)


def _is_refused(destination: bytes, command: bytes) -> bool:
    try:
        rsh.parse_destination(destination, [])
    except rsh.ArgumentError:
        return True
    return not 0 < len(command) <= rsh.MAX_COMMAND


def launcher_line(chance: random.Random) -> None:
    """A launcher's command line and hostfile, read for slots: whatever is there, no exception but a usage error."""
    line = mutated(chance, chance.choice(LAUNCHER_LINES), LAUNCHER_LINES).decode("utf-8", "surrogateescape")
    text = mutated(chance, chance.choice(HOSTFILES), HOSTFILES).decode("utf-8", "surrogateescape")
    try:
        parse_line(line.split(" "), {})
        slots = parse_hostfile(text)
    except UsageError:
        return
    assert all(count >= 0 for count in slots.values())


def recordio(chance: random.Random) -> None:
    """A master's stream of events."""
    stream = mutated(chance, chance.choice(RECORDS), RECORDS)
    whole, piecewise = RecordIODecoder(SMALL), RecordIODecoder(SMALL)
    at_once: list[bytes] = []
    in_turn: list[bytes] = []
    first = refusal(lambda: at_once.extend(whole.receive_data(stream)))

    def feed() -> None:
        for piece in pieces(chance, stream):
            in_turn.extend(piecewise.receive_data(piece))
            assert len(piecewise._buffer) <= SMALL + 4

    assert (refusal(feed) is None) == (first is None)
    # Whole records in front of a bad one may have been given out before it was seen.
    assert at_once == in_turn[: len(at_once)] if first is not None else at_once == in_turn
    assert first is not None or whole.is_between_records == piecewise.is_between_records


def http_response(chance: random.Random) -> None:
    """A master's answers."""
    stream = mutated(chance, chance.choice(RESPONSES), RESPONSES)
    whole, piecewise = ResponseParser(), ResponseParser()
    counts = [0, 0]

    def feed_all() -> None:
        counts[0] = whole.receive_data(stream)
        whole.receive_eof()

    def feed() -> None:
        for piece in pieces(chance, stream):
            counts[1] += piecewise.receive_data(piece)
            assert len(piecewise._line) <= MAX_LINE + 1
            assert len(piecewise.headers) <= MAX_HEADERS
        piecewise.receive_eof()

    assert refusal(feed_all) == refusal(feed)
    assert (whole.status, whole.headers, whole.state) == (
        piecewise.status,
        piecewise.headers,
        piecewise.state,
    )
    assert whole.take_body() == piecewise.take_body()
    assert counts[0] == counts[1] or whole.failure is not None


def http_request(chance: random.Random) -> None:
    """What comes to the port of a local master or agent."""
    stream = mutated(chance, b"".join(chance.choices(REQUESTS, k=2)), REQUESTS)
    whole, piecewise = RequestParser(SMALL, SMALL), RequestParser(SMALL, SMALL)
    at_once: list[Any] = []
    in_turn: list[Any] = []
    statuses: list[int] = [0, 0]
    try:
        at_once += whole.receive_data(stream)
    except BadRequest as error:
        statuses[0] = error.status
    try:
        for piece in pieces(chance, stream):
            in_turn += piecewise.receive_data(piece)
            assert len(piecewise._buffer) <= SMALL + 4
    except BadRequest as error:
        statuses[1] = error.status
    assert statuses[0] == statuses[1]
    assert statuses[0] or at_once == in_turn


def driver_line(chance: random.Random) -> None:
    """What a broker tells its driver; a refusal quotes no secret."""
    if chance.randrange(2):
        line = mutated(chance, chance.choice(LINES), LINES)
    else:
        line = json.dumps(mutated_json(chance, json.loads(chance.choice(LINES)))).encode()
    for parse in (parse_configuration, parse_call):
        try:
            parse(line)
        except RoujiamoError as error:
            sentence = str(error)
        else:
            continue
        # It may quote the user's own MASTER.
        assert len(sentence) <= MAX_SENTENCE + 2 * len(line)
        assert "s3cret" not in sentence


@functools.cache
def recorded_calls() -> list[Any]:
    """Every call of the recordings."""
    calls = []
    for path in sorted(TRACES.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            if isinstance(record.get("body"), dict) and "request" in record:
                calls.append((record["request"].split(" ")[1].partition("?")[0], record["body"]))
    return calls


def master(chance: random.Random) -> None:
    """A local master under the recorded calls of real schedulers, changed: it always answers, and its state is JSON."""
    # Two of one kind: what one is told at once, the other is told in pieces.
    state, other = (make_master(numbers=iter(range(1_000_000))) for _ in range(2))
    hosts = [add_agent(state, f"agent{number}") for number in (1, 2)]
    assert [add_agent(other, f"agent{number}") for number in (1, 2)] == hosts
    api, other_api = HttpApi(state, None, {}), HttpApi(other, None, {})
    now = START
    stream_id, framework_id = "", ""
    headers = {"content-type": "application/json", "accept": "application/json"}
    for round_number in range(20):
        path, body = (
            ("/api/v1/scheduler", SUBSCRIBE) if round_number == 0 else chance.choice(recorded_calls())
        )
        text = json.dumps(body)
        known = {"id1-O": offers_of(state, framework_id), "S": hosts, "framework": [framework_id]}
        call = _with_ids(chance, json.loads(text), known)
        if round_number:
            call = mutated_json(chance, call)
        raw = json.dumps(call).encode("utf-8", "surrogatepass")
        if chance.randrange(20) == 0:
            raw = mutated(chance, raw, [raw])
        more = {} if not round_number or call_type(call) == "SUBSCRIBE" else {"mesos-stream-id": stream_id}
        said = _http(path, {**headers, **more}, raw)
        (whole,) = RequestParser().receive_data(said)
        parser = RequestParser()
        (piecewise,) = [received for piece in pieces(chance, said) for received in parser.receive_data(piece)]
        answer = api.answer(whole.request, now)
        _check(answer)
        assert answer == other_api.answer(piecewise.request, now)
        if answer.stream_id is not None and not framework_id:
            stream_id = answer.stream_id
            framework_id = state.streams.get(stream_id, "")
        now += chance.random()
        while (deadline := state.timers.next_deadline) is not None and deadline <= now:
            agents.tick(state, deadline)
            agents.tick(other, deadline)
        for action, same in zip(state.take_actions(), other.take_actions(), strict=True):
            assert action == same
            json.dumps(getattr(action, "event", None) or getattr(action, "message", None))
    for path in (
        "/state",
        "/state-summary",
        "/tasks",
        "/frameworks",
        "/roles",
        "/slaves",
        "/maintenance/status",
    ):
        answer = api.answer(Request("GET", path), now)
        assert answer.status == 200
        assert answer == other_api.answer(Request("GET", path), now)
        json.loads(answer.body)


def _http(path: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: a", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


SUBSCRIBE = {
    "type": "SUBSCRIBE",
    "subscribe": {
        "framework_info": {
            "user": "root",
            "name": "fuzz",
            "roles": ["*"],
            "capabilities": [{"type": "MULTI_ROLE"}],
        }
    },
}


def offers_of(state: MasterState, framework_id: str) -> list[str]:
    framework = state.frameworks.get(framework_id)
    return list(framework.offers if framework is not None else ()) or ["none"]


def call_type(call: Any) -> Any:
    return call.get("type") if isinstance(call, dict) else None


def _with_ids(chance: random.Random, value: Any, known: dict[str, list[str]]) -> Any:
    """`value` with living ids where a recorded one stood, mostly."""
    if isinstance(value, list):
        return [_with_ids(chance, item, known) for item in value]
    if not isinstance(value, dict):
        return value
    changed = {}
    for key, item in value.items():
        kind = {"offer_ids": "id1-O", "agent_id": "S", "framework_id": "framework"}.get(key)
        if kind is None or chance.randrange(10) == 0:
            changed[key] = _with_ids(chance, item, known)
        elif key == "offer_ids":
            changed[key] = [{"value": chance.choice(known[kind])}]
        else:
            changed[key] = {"value": chance.choice(known[kind])}
    return changed


def _check(answer: Response) -> None:
    # 501: an operator call that a local master does not know.
    assert 200 <= answer.status < 500 or answer.status == 501, f"{answer.status}: {answer.body[:200]!r}"
    assert len(answer.body) < 1 << 20
