"""TEARDOWN that arrives: with pymesos or without, connected or not.

Runs in the driver, in a thread of its own, when the framework's work is over. Three ways, each tried until one is
confirmed or the time is up:

1. a TEARDOWN call on the subscription's stream, while there is one;
2. SUBSCRIBE again with the framework's id, then TEARDOWN on that stream: works after a lost connection, and makes a
   restarted master, which has forgotten the framework, end its tasks when their agents come back;
3. the operators' endpoint, POST /master/teardown.

Where the master says that it removed the framework, or has never heard of it, it is gone, which is what was wanted.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any
from urllib.parse import quote_plus

from roujiamo.errors import ProtocolError, UsageError
from roujiamo.mesos.http_response import ResponseParser
from roujiamo.mesos.recordio import RecordIODecoder
from roujiamo.pymesos_driver.credential import Credential
from roujiamo.pymesos_driver.exchange import SCHEDULER_PATH, Exchange, encode_call, scheduler_headers
from roujiamo.pymesos_driver.master import parse_address
from roujiamo.pymesos_driver.trouble import (
    FAILED_OVER,
    REMOVED,
    UNREACHABLE,
    MasterTrouble,
    call_refused,
    error_event,
    subscribe_refused,
)

OPERATOR_PATH = "/master/teardown"
# One way may take a third of the time that there is for all.
STEP_SECONDS = 2.5
PAUSE_SECONDS = 0.3
MAX_REDIRECTS = 3

_log = logging.getLogger(__name__)


class Teardown:
    """The end of the framework `framework["id"]`, within so many seconds.

    `last_master` is where it was subscribed last; `find_masters` returns the other addresses to try ("ip:port"), may
    block, and raise MasterTrouble: ZooKeeper may be away, or take most of the time, while the master is well.
    """

    def __init__(
        self,
        framework: Mapping[str, Any],
        credential: Credential | None,
        last_master: str | None,
        find_masters: Callable[[], Sequence[str]],
        seconds: float,
    ) -> None:
        self._framework = framework
        self._framework_id = str(framework["id"]["value"])
        self._principal = credential.principal if credential else None
        self._authorization = credential.authorization() if credential else None
        self._last_master = last_master
        self._find_masters = find_masters
        self._deadline = time.monotonic() + seconds
        # Whether a TEARDOWN of ours may have ended the framework: else whoever finds it gone finds another's work.
        self.may_have_ended_it = False

    def run(self, stream: tuple[str, str] | None) -> None:
        """Return when the framework is gone; `stream` is the subscription's (address, stream id).

        Raises MasterTrouble where that is not certain when the time is up, or the framework is another driver's now.
        """
        trouble = MasterTrouble(UNREACHABLE, "there is no master to send TEARDOWN to")
        while True:
            for way in self._ways(stream):
                try:
                    if way():
                        return
                except MasterTrouble as error:
                    if error.kind == REMOVED:
                        return
                    if error.kind == FAILED_OVER:
                        raise
                    trouble = error
                    _log.info("teardown: %s", error)
            stream = None
            if time.monotonic() + PAUSE_SECONDS >= self._deadline:
                raise trouble
            time.sleep(PAUSE_SECONDS)

    def _ways(self, stream: tuple[str, str] | None) -> Iterator[Callable[[], bool]]:
        """What to try, in order; each returns True where the framework is gone."""
        if stream is not None:
            yield partial(self._call, *stream)
        if self._last_master is not None:
            yield from self._ways_at(self._last_master)
        others: list[str] = []

        def find() -> bool:
            others.extend(address for address in self._find_masters() if address != self._last_master)
            return False

        yield find
        for address in others:
            yield from self._ways_at(address)

    def _ways_at(self, address: str) -> Iterator[Callable[[], bool]]:
        yield partial(self._subscribe_and_call, address)
        yield partial(self._ask_as_operator, address)

    def _call(self, address: str, stream_id: str) -> bool:
        had_ended_it, self.may_have_ended_it = self.may_have_ended_it, True
        status, text = self._exchange(address).post(
            SCHEDULER_PATH,
            encode_call("TEARDOWN", self._framework_id),
            scheduler_headers(self._authorization, stream_id),
        )
        if 200 <= status < 300:
            return True
        self.may_have_ended_it = had_ended_it
        if "Framework cannot be found" not in text:
            raise call_refused("TEARDOWN", address, status, text)
        return True

    def _subscribe_and_call(self, address: str) -> bool:
        for _ in range(MAX_REDIRECTS):
            parser = ResponseParser()
            with closing(self._subscribe(address, parser)) as events:
                for event in events:
                    if event.get("type") == "ERROR":
                        raise error_event(str(event.get("error", {}).get("message")))
                    if event.get("type") == "SUBSCRIBED":
                        return self._call(address, parser.headers.get("mesos-stream-id", ""))
            if parser.status != 307:
                break
            try:
                address = str(parse_address(parser.headers.get("location", "")))
            except UsageError as error:
                raise MasterTrouble(
                    UNREACHABLE, f"the master at {address} redirects to nowhere: {error}"
                ) from error
        raise MasterTrouble(
            UNREACHABLE, f"the master at {address} did not take SUBSCRIBE to tear the framework down"
        )

    def _subscribe(self, address: str, parser: ResponseParser) -> Generator[dict[str, Any], None, None]:
        body = encode_call("SUBSCRIBE", self._framework_id, {"framework_info": dict(self._framework)})
        decoder, refusal = RecordIODecoder(), b""
        headers = scheduler_headers(self._authorization)
        with closing(self._exchange(address).stream(SCHEDULER_PATH, body, headers, parser)) as pieces:
            for piece in pieces:
                if parser.status != 200:
                    refusal += piece[:1000]
                    continue
                try:
                    events = [json.loads(record) for record in decoder.receive_data(piece)]
                except (ProtocolError, ValueError) as error:
                    raise MasterTrouble(
                        UNREACHABLE, f"the master at {address} sent no events: {error}"
                    ) from error
                yield from (event for event in events if isinstance(event, dict))
        if parser.status not in (200, 307):
            said = refusal.decode("utf-8", "replace")
            raise subscribe_refused(address, parser.status, said, self._principal)

    def _ask_as_operator(self, address: str) -> bool:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if self._authorization is not None:
            headers["Authorization"] = self._authorization
        status, text = self._exchange(address).post(
            OPERATOR_PATH, b"frameworkId=" + quote_plus(self._framework_id).encode(), headers
        )
        if not 200 <= status < 300 and "No framework found" not in text:
            raise call_refused("the operators' teardown", address, status, text)
        return True

    def _exchange(self, address: str) -> Exchange:
        return Exchange(address, min(STEP_SECONDS, self._deadline - time.monotonic()))
