"""What the driver does from its start to its end: one loop around `poll`.

Runs as the driver's main thread. It ends by a teardown: asked for by the broker, by the end of stdin or of stdout's
reader, by SIGTERM, or after a fatal error. Exit status: 0 where the framework is known to be gone, 1 where that is not
certain or a fatal error was reported, 2 where the first line or the command line is wrong.
"""

from __future__ import annotations

import logging
import os
import random
import select
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from roujiamo.driver.inbox import Inbox
from roujiamo.driver.lines import (
    MAX_LINE,
    Configuration,
    encode_line,
    error_line,
    parse_call,
    parse_configuration,
    to_request,
)
from roujiamo.driver.pipes import DroppingHandler, LineReader, LineWriter
from roujiamo.errors import MissingDependency, ProtocolError, UsageError
from roujiamo.pymesos_driver.loading import load_pymesos
from roujiamo.pymesos_driver.trouble import INTERNAL, INVALID, PYMESOS_MISSING, MasterTrouble

# While so much waits for the broker to read it, no more is taken in, from the master or from the broker.
MAX_UNREAD_BYTES = 1 << 20
MAX_WAITING_CALLS = 1000
FLUSH_SECONDS = 1.0

_log = logging.getLogger(__name__)

_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL


def main(argv: Sequence[str]) -> int:
    """Run the driver until its framework is torn down; return the exit status.

    `-v`: log to stderr; `-vv`: all. `--log-fd N`: log there, if the first line says so.
    """
    log_descriptor = int(argv[1]) if len(argv) == 2 and argv[0] == "--log-fd" and argv[1].isdigit() else -1
    if log_descriptor < 0 and list(argv) not in ([], ["-v"], ["-vv"]):
        print("roujiamo.driver: started by a session's broker; use `roujiamo run`", file=sys.stderr)
        return UsageError.exit_status
    inbox = Inbox()
    _set_signals(inbox)
    reader, writer = _take_pipes()
    _set_logging(argv[0].count("v") if log_descriptor < 0 and argv else 0)
    try:
        load_pymesos()
    except MissingDependency as error:
        return _refuse(writer, MasterTrouble(PYMESOS_MISSING, str(error)), 1)
    try:
        first_lines = _read_first_line(reader)
        if not first_lines:
            return 0
        configuration = parse_configuration(first_lines[0])
    except (UsageError, ProtocolError) as error:
        return _refuse(writer, MasterTrouble(INVALID, str(error)), 2)
    if log_descriptor >= 0:
        if configuration.is_verbose:
            os.dup2(log_descriptor, 2)
            os.dup2(log_descriptor, 1)
            _set_logging(1)
        os.close(log_descriptor)
    return Program(configuration, inbox, reader, writer).run(first_lines[1:])


def _set_signals(inbox: Inbox) -> None:
    """Only SIGTERM ends the driver, and that by a teardown; a terminal's signals are for the user's program."""
    # A mask is inherited from whoever started the program that started us.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGTSTP,
        signal.SIGTTIN,
        signal.SIGTTOU,
    ):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _on_sigterm)
    signal.set_wakeup_fd(inbox.wake_write, warn_on_full_buffer=False)


_is_terminated = False


def _on_sigterm(*_: Any) -> None:
    global _is_terminated
    _is_terminated = True


def _take_pipes() -> tuple[LineReader, LineWriter]:
    """Move stdin and stdout out of the way of any library that would read or print."""
    reader, writer = LineReader(os.dup(0), MAX_LINE), LineWriter(os.dup(1))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return reader, writer


def _set_logging(verbose: int) -> None:
    root = logging.getLogger()
    root.handlers[:] = [DroppingHandler(2)]
    root.setLevel([logging.CRITICAL, logging.INFO, logging.DEBUG][min(verbose, 2)])


def _read_first_line(reader: LineReader) -> list[bytes]:
    """Wait for it; what came with it is returned too. None at all where there is nothing to do any more.

    However long it takes: whoever writes it has a user who may be slow, and the end of either closes the pipe.
    """
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while not reader.is_eof and not _is_terminated:
        # In short waits: a signal that comes in between is seen then.
        if poll.poll(200) and (lines := reader.read()):
            return lines
    return []


def _refuse(writer: LineWriter, trouble: MasterTrouble, status: int) -> int:
    writer.write(encode_line(error_line(trouble, is_fatal=True)))
    _flush(writer)
    print(f"roujiamo driver: {trouble}", file=sys.stderr)
    return status


def _flush(writer: LineWriter) -> None:
    """Give the broker a last chance to read what there is."""
    deadline = time.monotonic() + FLUSH_SECONDS
    poll = select.poll()
    poll.register(writer, select.POLLOUT)
    while writer.pending_bytes and (remaining := deadline - time.monotonic()) > 0:
        for _, events in poll.poll(remaining * 1000):
            if events & _GONE:
                writer.break_off()
        writer.flush()


class Program:
    """The loop and what it needs."""

    def __init__(
        self, configuration: Configuration, inbox: Inbox, reader: LineReader, writer: LineWriter
    ) -> None:
        # Not at the top: they import pymesos, which may be missing, and must be on the main thread after our handlers.
        from roujiamo.driver.framework import Framework
        from roujiamo.driver.guardian import Guardian

        self._inbox = inbox
        self._reader = reader
        self._writer = writer
        self._framework = Framework(configuration, inbox, writer.write, random.Random())
        self._guardian = Guardian(self._framework, inbox, configuration.limits.teardown_seconds)

    def run(self, lines: Sequence[bytes]) -> int:
        """Work until the framework is torn down; return the exit status."""
        self._on_lines(lines)
        guardian = self._guardian
        has_failed = False
        while guardian.status is None:
            try:
                self._step()
            except Exception as error:
                # A mistake of ours must not leave the framework behind. If the end fails too, that is the end.
                if guardian.has_begun:
                    raise
                _log.exception("the driver failed")
                self._emit_error(f"the driver failed: {type(error).__name__}: {error}", is_fatal=True)
                guardian.begin(time.monotonic())
                has_failed = True
        self._inbox.release()
        _flush(self._writer)
        if guardian.sentence:
            print(f"roujiamo driver: {guardian.sentence}", file=sys.stderr)
        return 1 if has_failed else guardian.status

    def _step(self) -> None:
        now = time.monotonic()
        seconds = min(self._framework.tick(now), self._guardian.tick(now))
        if (self._framework.ended_by is not None or _is_terminated) and not self._guardian.has_begun:
            self._guardian.begin(now)
            seconds = 0.0
        self._writer.flush()
        if self._guardian.status is None:
            self._wait(seconds)
            self._take_from_inbox()

    @property
    def _is_stalled(self) -> bool:
        return self._writer.pending_bytes > MAX_UNREAD_BYTES

    def _wait(self, seconds: float) -> None:
        """Wait for the pipes and the inbox, and deal with the pipes."""
        poll = select.poll()
        poll.register(self._inbox, select.POLLIN)
        is_reading = not self._is_stalled and self._framework.calls.waiting < MAX_WAITING_CALLS
        if not self._reader.is_eof:
            # Without POLLIN the end is still reported, where the reader's is a pipe or a socket.
            poll.register(self._reader, select.POLLIN if is_reading else 0)
        if not self._writer.is_broken:
            poll.register(self._writer, select.POLLOUT if self._writer.pending_bytes else 0)
        ready = dict(poll.poll(min(seconds, 60.0) * 1000 + 1))
        events = ready.get(self._reader.fileno(), 0)
        if events & select.POLLIN and is_reading:
            self._read()
        elif events & _GONE:
            self._reader.is_eof = True
        if ready.get(self._writer.fileno(), 0) & _GONE:
            self._writer.break_off()
        if self._reader.is_eof or self._writer.is_broken:
            self._guardian.begin(time.monotonic())

    def _take_from_inbox(self) -> None:
        self._inbox.clear_wake()
        while work := self._inbox.take(with_events=not self._is_stalled or self._guardian.has_begun):
            work()

    def _read(self) -> None:
        try:
            self._on_lines(self._reader.read())
        except ProtocolError as error:
            # Where the next line begins is not known any more.
            self._emit_error(str(error), is_fatal=True)
            self._reader.is_eof = True

    def _on_lines(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            try:
                self._on_call(parse_call(line))
            except UsageError as error:
                self._emit_error(str(error))

    def _on_call(self, content: dict[str, Any]) -> None:
        now = time.monotonic()
        if content["call"] == "ping":
            blocked = round(self._framework.calls.busy_seconds(now), 3)
            self._writer.write(
                encode_line({"event": "pong", "id": content.get("id"), "blocked_seconds": blocked})
            )
        elif content["call"] == "teardown":
            self._guardian.begin(now)
        elif not self._guardian.has_begun:
            self._framework.send(to_request(content))

    def _emit_error(self, sentence: str, *, is_fatal: bool = False) -> None:
        self._writer.write(encode_line(error_line(MasterTrouble(INTERNAL, sentence), is_fatal=is_fatal)))
