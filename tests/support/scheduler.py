"""A scheduler on plain http.client, from the documented v1 API alone, with nothing of the product in it.

Imported by the test process only. One thread: the stream is read while something is waited for. Updates are
acknowledged as they are read, where the test does not want to do that itself.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import select
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.support.waiting import scaled

PATH = "/api/v1/scheduler"
OVER = (
    "TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_LOST", "TASK_ERROR", "TASK_UNREACHABLE", "TASK_DROPPED",
    "TASK_GONE",
)  # fmt: skip


def get(address: str, target: str, credentials: str | None = None) -> tuple[int, Any]:
    """GET from a master or an agent: the status, and the body (as JSON where it is)."""
    return request(address, "GET", target, headers=authorization(credentials))


def authorization(credentials: str | None) -> dict[str, str]:
    """The header for `principal:secret` (RFC 7617), or none."""
    if credentials is None:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(credentials.encode()).decode()}


def request(
    address: str, method: str, target: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=scaled(10))
    with contextlib.closing(connection):
        connection.request(method, target, body, headers or {})
        response = connection.getresponse()
        content = response.read()
        is_json = response.headers.get("Content-Type") == "application/json"
        return response.status, json.loads(content) if is_json else content


class Scheduler:
    """One framework, subscribed."""

    def __init__(
        self,
        address: str,
        *,
        credentials: str | None = None,
        acknowledges: bool = True,
        suppressed_roles: tuple[str, ...] = (),
        **info: Any,
    ) -> None:
        self.address = address
        self.events: list[dict[str, Any]] = []
        self.is_ended = False
        self.id: dict[str, str] = {}
        self._acknowledges = acknowledges
        self._used: set[str] = set()
        self._received = b""
        self._headers = {"Content-Type": "application/json", **authorization(credentials)}
        host, _, port = address.rpartition(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=scaled(10))
        self.info = {"user": "root", "name": "test", **info}
        subscribe: dict[str, Any] = {"framework_info": self.info}
        if suppressed_roles:
            subscribe["suppressed_roles"] = suppressed_roles
        body: dict[str, Any] = {"type": "SUBSCRIBE", "subscribe": subscribe}
        if "id" in info:
            body["framework_id"] = info["id"]
        self._connection.request("POST", PATH, json.dumps(body), self._headers)
        self._response = self._connection.getresponse()
        self.status = self._response.status
        self.refusal = b""
        if self.status != 200:
            self.refusal = self._response.read()
            self._connection.close()
            return
        # From here on the stream is read from the socket itself: http.client reads no further after a time-out.
        assert self._response.headers["Transfer-Encoding"] == "chunked"
        self._chunks = self._response.fp.peek()
        self.stream_id = self._response.headers["Mesos-Stream-Id"]
        self._headers["Mesos-Stream-Id"] = self.stream_id
        first = self.wait_for(lambda event: event["type"] in ("SUBSCRIBED", "ERROR"))
        if first["type"] == "SUBSCRIBED":
            self.id = first["subscribed"]["framework_id"]

    def close(self) -> None:
        """Drop the stream without a word."""
        self._response.close()
        self._connection.close()

    def call(self, kind: str, **fields: Any) -> tuple[int, bytes]:
        body = {"type": kind, "framework_id": self.id, **fields}
        return request(self.address, "POST", PATH, json.dumps(body).encode(), self._headers)

    def wait_for(
        self, is_it: Callable[[dict[str, Any]], bool], seconds: float = 15, since: int = 0
    ) -> dict[str, Any]:
        """The first event, old or new, that is it; none of the first `since` ones."""
        deadline = time.monotonic() + scaled(seconds)
        seen = since
        while True:
            for event in self.events[seen:]:
                if is_it(event):
                    return event
            seen = len(self.events)
            left = deadline - time.monotonic()
            if left <= 0 or self.is_ended:
                kinds = [event["type"] for event in self.events]
                raise AssertionError(f"no such event within {scaled(seconds):g} s; there were {kinds}")
            self._read(left)

    def wait_for_end(self, seconds: float = 15) -> None:
        """Until the master has ended the stream in good order."""
        deadline = time.monotonic() + scaled(seconds)
        while not self.is_ended:
            left = deadline - time.monotonic()
            assert left > 0, f"the stream goes on after {scaled(seconds):g} s"
            self._read(left)

    def read_what_is_there(self) -> None:
        """Take in what has come, without waiting for more."""
        while not self.is_ended and self._read(0.01):
            pass

    def offer(self, since: int = 0) -> dict[str, Any]:
        """An offer that was not used yet."""
        return self.offers(1, since)[0]

    def offers(self, count: int, since: int = 0) -> list[dict[str, Any]]:
        """So many offers (at least) that were not used or withdrawn yet, from events after the first `since`."""

        def unused() -> list[dict[str, Any]]:
            withdrawn = {
                event["rescind"]["offer_id"]["value"] for event in self.events if event["type"] == "RESCIND"
            }
            events = [event["offers"]["offers"] for event in self.events[since:] if event["type"] == "OFFERS"]
            gone = self._used | withdrawn
            return [offer for offers in events for offer in offers if offer["id"]["value"] not in gone]

        self.wait_for(lambda _: len(unused()) >= count)
        return unused()

    def launch(self, task_id: str, command: str | dict[str, Any], **more: Any) -> dict[str, Any]:
        """Launch a task on the next offer; returns that."""
        offer = self.offer()
        self.accept(offer, task(task_id, command, offer, **more))
        return offer

    def accept(self, offer: dict[str, Any] | list[dict[str, Any]], *tasks: dict[str, Any]) -> None:
        """Launch tasks on one offer or several; the rest is given back and may be offered again at once."""
        offers = offer if isinstance(offer, list) else [offer]
        accept = {
            "offer_ids": [one["id"] for one in offers],
            "operations": [{"type": "LAUNCH", "launch": {"task_infos": tasks}}],
            "filters": {"refuse_seconds": 0},
        }
        self._used.update(one["id"]["value"] for one in offers)
        assert self.call("ACCEPT", accept=accept) == (202, b"")

    def decline(self, offers: list[dict[str, Any]], **filters: float) -> None:
        """Give offers back; `refuse_seconds` for how long they are not wanted."""
        self._used.update(one["id"]["value"] for one in offers)
        decline: dict[str, Any] = {"offer_ids": [one["id"] for one in offers]}
        if filters:
            decline["filters"] = filters
        assert self.call("DECLINE", decline=decline) == (202, b"")

    def acknowledge(self, status: dict[str, Any]) -> None:
        named = {key: status[key] for key in ("agent_id", "task_id", "uuid")}
        assert self.call("ACKNOWLEDGE", acknowledge=named) == (202, b"")

    def update(
        self, task_id: str, states: tuple[str, ...] = OVER, seconds: float = 15, since: int = 0
    ) -> dict[str, Any]:
        """The first update of a task with one of these states."""

        def is_it(event: dict[str, Any]) -> bool:
            status = event.get("update", {}).get("status", {})
            return status.get("task_id") == {"value": task_id} and status["state"] in states

        status: dict[str, Any] = self.wait_for(is_it, seconds, since)["update"]["status"]
        return status

    def answer(self, task_id: str, reason: str, since: int = 0) -> dict[str, Any]:
        """The first update of a task for that reason."""

        def is_it(event: dict[str, Any]) -> bool:
            status = event.get("update", {}).get("status", {})
            return status.get("task_id") == {"value": task_id} and status.get("reason") == reason

        status: dict[str, Any] = self.wait_for(is_it, since=since)["update"]["status"]
        return status

    def states(self, task_id: str) -> list[str]:
        """The states of a task as far as they were read."""
        statuses = [event["update"]["status"] for event in self.events if event["type"] == "UPDATE"]
        return [status["state"] for status in statuses if status["task_id"]["value"] == task_id]

    def _read(self, seconds: float) -> bool:
        """Read what there is, for so long at most; return whether there was anything."""
        assert self._connection.sock is not None
        if not self._take_chunk():
            if not select.select([self._connection.sock], [], [], seconds)[0]:
                return False
            data = self._connection.sock.recv(65_536)
            if not data:
                self.is_ended = True
                return False
            self._chunks += data
            self._take_chunk()
        for event in self._events():
            self.events.append(event)
            status = event.get("update", {}).get("status", {})
            if self._acknowledges and "uuid" in status:
                self.acknowledge(status)
        return True

    def _take_chunk(self) -> bool:
        """Move a whole chunk (RFC 9112 section 7.1) to what was received; return whether there was one."""
        size, line_end, rest = self._chunks.partition(b"\r\n")
        if not line_end or len(rest) < int(size, 16) + 2:
            return False
        length = int(size, 16)
        self._received += rest[:length]
        self._chunks = rest[length + 2 :]
        if length == 0:
            self.is_ended = True
        return True

    def _events(self) -> Iterator[dict[str, Any]]:
        """Whole records of what was received: a length in digits, a line feed, so many bytes (RecordIO)."""
        while True:
            length, line_feed, rest = self._received.partition(b"\n")
            if not line_feed or len(rest) < int(length):
                return
            self._received = rest[int(length) :]
            yield json.loads(rest[: int(length)])


@contextlib.contextmanager
def subscribed(address: str, **options: Any) -> Iterator[Scheduler]:
    """A scheduler for the time of a with-block; it drops its stream at the end."""
    scheduler = Scheduler(address, **options)
    try:
        yield scheduler
    finally:
        scheduler.close()


def task(
    task_id: str, command: str | dict[str, Any], offer: dict[str, Any], cpus: float = 0.1, **more: Any
) -> dict[str, Any]:
    """A TaskInfo."""
    return {
        "name": task_id,
        "task_id": {"value": task_id},
        "agent_id": offer["agent_id"],
        "resources": [
            {"name": "cpus", "type": "SCALAR", "scalar": {"value": cpus}},
            {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}},
        ],
        "command": {"value": command} if isinstance(command, str) else command,
        **more,
    }
