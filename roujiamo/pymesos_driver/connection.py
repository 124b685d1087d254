"""pymesos's connection to the master, made to say why it ends, and to end when it should.

Runs in the driver, in pymesos's I/O thread. pymesos itself would reconnect without a word after a refused connection,
a 503 or a cut stream, and lose the status of a refusal whose body comes in two pieces (it adds str to bytes). Here
each of them raises, which ends the I/O thread: trying again is our caller's
decision. The master is not trusted to keep to its protocol.
"""

from __future__ import annotations

import os
from typing import Any

from roujiamo.errors import ProtocolError, RoujiamoError
from roujiamo.pymesos_driver.loading import load_pymesos
from roujiamo.pymesos_driver.trouble import (
    INVALID,
    UNREACHABLE,
    MasterTrouble,
    Redirected,
    quote,
    subscribe_refused,
)

# The body of a refusal is a sentence or two.
MAX_REFUSAL = 65_536

_Connection: Any = load_pymesos().process.Connection


class MasterConnection(_Connection):
    """One connection, one SUBSCRIBE. Every method that pymesos calls either goes on or raises a MasterError."""

    _sock: Any
    _parser: Any

    def __init__(self, master: str, subscription: Any) -> None:
        self._master = master
        self._subscription = subscription
        self._refusal = b""
        try:
            super().__init__(master, subscription)
        except OSError as error:
            raise self._unreachable(error.errno) from error

    def handle_connect_event(self) -> str:
        """Raise where the connection could not be made: pymesos would sleep for up to 15 s and try again."""
        if super().handle_connect_event():
            raise MasterTrouble(
                UNREACHABLE, f"the master at {self._master} cannot be reached: connecting failed"
            )
        return ""

    def write(self) -> bool:
        """Send a part of SUBSCRIBE, and note that from now on the master may have a framework of ours."""
        self._subscription.has_asked = True
        if not super().write():
            raise self._cut()
        return True

    def read(self) -> bool:
        """Read what has come; events go to the subscription."""
        parser = self._parser
        try:
            goes_on = super().read()
        except RoujiamoError:
            raise
        except (RuntimeError, TypeError, KeyError, ValueError) as error:
            # pymesos met something that it has no better answer to: a refusal, or what is no event stream.
            if parser.stream_failure is not None:
                raise ProtocolError(
                    f"the master at {self._master} sent no event: {parser.stream_failure}"
                ) from error
            if parser.response.failure is not None:
                raise self._not_a_master(parser.response.failure) from error
            if self._subscription.is_subscribed:
                raise ProtocolError(f"the master at {self._master} sent an event that is no JSON") from error
            if parser.get_status_code() in (200, 307):
                raise self._not_a_master(quote(str(error))) from error
            goes_on = self._collect_refusal(parser)
        if goes_on:
            return True
        raise self._why_it_ended(parser)

    def _collect_refusal(self, parser: Any) -> bool:
        """Whether more of a refusal's body is to come."""
        self._refusal += parser.last_body
        return not parser.is_message_complete() and len(self._refusal) < MAX_REFUSAL

    def _why_it_ended(self, parser: Any) -> RoujiamoError:
        status = parser.get_status_code() if parser.is_headers_complete() else 0
        if status == 200:
            return self._cut()
        if status == 307:
            return Redirected(self._master, self._subscription.redirected_to)
        if status == 0:
            return MasterTrouble(
                UNREACHABLE, f"the master at {self._master} closed the connection without an answer"
            )
        body = self._refusal or parser.recv_body()
        said = body.decode("utf-8", "replace")
        return subscribe_refused(self._master, status, said, self._subscription.principal)

    def _not_a_master(self, reason: str) -> MasterTrouble:
        sentence = f"what answers at {self._master} is not a Mesos master ({reason}): check the address"
        return MasterTrouble(INVALID, sentence, is_fatal=True)

    def _cut(self) -> MasterTrouble:
        return MasterTrouble(UNREACHABLE, f"the connection to the master at {self._master} was lost")

    def _unreachable(self, number: int | None) -> MasterTrouble:
        reason = os.strerror(number) if number is not None else "no such address"
        return MasterTrouble(UNREACHABLE, f"the master at {self._master} cannot be reached: {reason}")
