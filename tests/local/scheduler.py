"""A scheduler on plain sockets: subscribes, calls, and reads its stream, with nothing of the product in between.

One thread: the stream is read while something is waited for. Updates are acknowledged as they are read.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from roujiamo.mesos.recordio import RecordIODecoder
from tests.support import scaled

PATH = "/api/v1/scheduler"
OVER = ("TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_LOST", "TASK_ERROR", "TASK_UNREACHABLE")


def get(address: str, target: str) -> tuple[int, Any]:
    """GET from a master or an agent: the status, and the body (as JSON where it is)."""
    return request(address, "GET", target)


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
        self, address: str, *, credentials: str | None = None, acknowledges: bool = True, **info: Any
    ) -> None:
        self.address = address
        self.events: list[dict[str, Any]] = []
        self.is_ended = False
        self._acknowledges = acknowledges
        self._used: set[str] = set()
        self._headers = {"Content-Type": "application/json"}
        if credentials is not None:
            self._headers["Authorization"] = "Basic " + base64.b64encode(credentials.encode()).decode()
        host, _, port = address.rpartition(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=scaled(10))
        body: dict[str, Any] = {
            "type": "SUBSCRIBE",
            "subscribe": {"framework_info": {"user": "root", "name": "test", **info}},
        }
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
        self._decoder = RecordIODecoder()
        self._headers["Mesos-Stream-Id"] = self._response.headers["Mesos-Stream-Id"]
        first = self.wait_for(lambda event: event["type"] in ("SUBSCRIBED", "ERROR"))
        if first["type"] == "SUBSCRIBED":
            self.id: dict[str, str] = first["subscribed"]["framework_id"]

    def close(self) -> None:
        """Drop the stream without a word."""
        self._response.close()
        self._connection.close()

    def call(self, kind: str, **fields: Any) -> tuple[int, bytes]:
        body = {"type": kind, "framework_id": self.id, **fields}
        return request(self.address, "POST", PATH, json.dumps(body).encode(), self._headers)

    def wait_for(self, is_it: Callable[[dict[str, Any]], bool], seconds: float = 15) -> dict[str, Any]:
        """The first event, old or new, that is it."""
        deadline = time.monotonic() + scaled(seconds)
        seen = 0
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

    def offer(self) -> dict[str, Any]:
        """An offer that was not used yet."""
        return next(self._offers())

    def launch(self, task_id: str, command: str | dict[str, Any], **more: Any) -> dict[str, Any]:
        """Launch a task on the next offer; returns that."""
        offer = self.offer()
        self.accept(offer, task(task_id, command, offer, **more))
        return offer

    def accept(self, offer: dict[str, Any], *tasks: dict[str, Any]) -> None:
        self._used.add(offer["id"]["value"])
        accept = {
            "offer_ids": [offer["id"]],
            "operations": [{"type": "LAUNCH", "launch": {"task_infos": tasks}}],
            "filters": {"refuse_seconds": 0},
        }
        assert self.call("ACCEPT", accept=accept) == (202, b"")

    def update(self, task_id: str, states: tuple[str, ...] = OVER, seconds: float = 15) -> dict[str, Any]:
        """The first update of a task with one of these states."""

        def is_it(event: dict[str, Any]) -> bool:
            status = event.get("update", {}).get("status", {})
            return status.get("task_id") == {"value": task_id} and status["state"] in states

        status: dict[str, Any] = self.wait_for(is_it, seconds)["update"]["status"]
        return status

    def states(self, task_id: str) -> list[str]:
        """The states of a task as far as they were read."""
        statuses = [event["update"]["status"] for event in self.events if event["type"] == "UPDATE"]
        return [status["state"] for status in statuses if status["task_id"]["value"] == task_id]

    def _offers(self) -> Iterator[dict[str, Any]]:
        def unused(event: dict[str, Any]) -> list[dict[str, Any]]:
            offers = event.get("offers", {}).get("offers", [])
            return [offer for offer in offers if offer["id"]["value"] not in self._used]

        while True:
            yield unused(self.wait_for(lambda event: bool(unused(event))))[0]

    def _read(self, seconds: float) -> None:
        assert self._connection.sock is not None or self._response.fp is not None
        if self._connection.sock is not None:
            self._connection.sock.settimeout(seconds)
        try:
            data = self._response.read1(65_536)
        except TimeoutError:
            return
        if not data:
            self.is_ended = True
            return
        for record in self._decoder.receive_data(data):
            event = json.loads(record)
            self.events.append(event)
            status = event.get("update", {}).get("status", {})
            if self._acknowledges and "uuid" in status:
                named = {key: status[key] for key in ("agent_id", "task_id", "uuid")}
                self.call("ACKNOWLEDGE", acknowledge=named)


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
