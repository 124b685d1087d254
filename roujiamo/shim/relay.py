"""The poll loop: one remote command, from its request to the last byte of its output.

Runs in the shim. Trusts the server at the other end of the socket no further than the channel's rules.

    OPENING    the request is sent; a signal, the deadline or the launcher's end stops the shim
    OPEN       stdin goes out as the window allows, output comes in, signals are forwarded
    DRAINING   the channel is closed, by the server or by its failure; what is left is written out, then `run` ends

Memory stays below one window: stdin is read only when the socket has taken everything before, and the server may
send on only when stdout and stderr have taken what it sent.
"""

import _socket
import posix
import select
import time

from roujiamo.errors import HostLost, ProtocolError, RemoteCommandError, RoujiamoError, SessionGone
from roujiamo.protocol.channel import OPEN_STATE, OPENER, OPENING, Channel
from roujiamo.protocol.frames import (
    CLOSE,
    DATA,
    EOF,
    EXIT_SIGNAL,
    EXIT_STATUS,
    EXTENDED_DATA,
    MAX_DATA,
    OPEN_FAILURE,
    OPEN_OK,
    SIGNAL_NAMES,
    SIGNAL_NUMBERS,
    Decoder,
)
from roujiamo.protocol.rsh import Invocation
from roujiamo.shim.launcher import POLL_SECONDS, Launcher
from roujiamo.shim.signals import SignalPipe, Stopped
from roujiamo.shim.streams import STDERR, STDIN, STDOUT, Output, OutputError, ReaderGone, read_stdin

MYPY = False
if MYPY:
    from collections.abc import Callable
    from typing import Any

CHANNEL = 1
# No frame for a shim is larger: data, or a sentence.
MAX_PAYLOAD = 2 * MAX_DATA
RECEIVE_SIZE = 4 * MAX_DATA
# What a command that says little needs: all of the above would be filled with zeros first, 0.17 ms of CPU.
FIRST_RECEIVE_SIZE = 4096

# ioctl_list(2), asm-generic/ioctls.h: x86's and Arm's.
SIOCOUTQ = 0x5411

# A second INT or TERM within this time means now; and so long may the session leave the first one unread.
INSISTENCE_SECONDS = 2.0
# A daemon ends a moment after its launcher, with a status that says whether it was told to.
LINGER_SECONDS = 1.0
_INT = SIGNAL_NUMBERS[b"INT"]
_TERM = SIGNAL_NUMBERS[b"TERM"]
_STATUS_OF_PIPE = 128 + SIGNAL_NUMBERS[b"PIPE"]
# The failures' own status (ssh(1), EXIT STATUS).
_FAILURE = RemoteCommandError.exit_status


class Relay:
    """One remote command on an open connection; `run` it once."""

    def __init__(
        self,
        connection: _socket.socket,
        invocation: Invocation,
        signals: SignalPipe,
        launcher: "Launcher | None",
        timeout_seconds: float,
        note: "Callable[[str], None]",
    ) -> None:
        """`note` is told what happens, for -v; `timeout_seconds` is for the host to get ready."""
        self._connection = connection
        self._invocation = invocation
        self._signals = signals
        self._launcher = launcher
        self._timeout_seconds = timeout_seconds
        self._note = note
        self._channel = Channel(CHANNEL, OPENER)
        self._decoder = Decoder(MAX_PAYLOAD)
        # One buffer for all: a new one of this size is a mapping of its own, 40 µs of the system for each frame.
        self._received = memoryview(bytearray(FIRST_RECEIVE_SIZE))
        self._outgoing = memoryview(b"")
        self._stdout = Output(STDOUT, "stdout")
        self._stderr = Output(STDERR, "stderr")
        self._stderr_is_broken = False
        self._has_stdin = not invocation.no_stdin
        self._status = -1
        self._failure = None  # type: RoujiamoError | None
        self._is_connected = True
        self._open_deadline = 0.0
        self._urged_at = 0.0
        self._urge_deadline = 0.0
        self._linger_deadline = 0.0
        self._poll = select.poll()
        self._watched = {}  # type: dict[int, int]
        self._waits_for_all = False
        self._handlers = {
            connection.fileno(): self._on_connection,
            signals.descriptor: self._on_signals,
            STDIN: self._on_stdin,
        }  # type: dict[int, Callable[[int], None]]
        if launcher is not None:
            self._handlers[launcher.descriptor] = self._on_launcher

    def run(self, token: bytes) -> int:
        """Run the command and return its exit status, 128 + n where signal n ended it.

        Raises a RoujiamoError where the session fails, and Stopped where the shim is to end at once.
        """
        self._open_deadline = time.monotonic() + self._timeout_seconds
        self._channel.open(self._invocation.host, self._invocation.command, token)
        self._send()
        try:
            while self._is_connected or self._stdout.has_backlog or self._stderr.has_backlog:
                self._watch_all()
                for descriptor, events in self._poll.poll(self._wait_milliseconds()):
                    self._handlers[descriptor](events)
                self._check_deadlines()
        except ReaderGone:
            # Of stdout. The far side kills the command, and the status is that of any filter that loses its reader.
            self._hang_up()
            raise Stopped(_STATUS_OF_PIPE) from None
        except (Stopped, RoujiamoError):
            self._hang_up()
            raise
        if self._failure is not None and self._linger_deadline:
            # The session has ended with its launcher, as it should: nobody is left to be told.
            raise Stopped(_FAILURE)
        if self._failure is not None:
            raise self._failure
        return self._status

    def _hang_up(self) -> None:
        """Tell the server, if that goes at once, that the shim ends; the end of the connection says the same."""
        self._channel.close()
        self._send()

    # What to wait for

    def _watch_all(self) -> None:
        channel = self._channel
        waits_for_all = bool(
            channel.state == OPEN_STATE
            and channel.sendable
            and not (self._outgoing or self._stdout.has_backlog or self._stderr.has_backlog)
        )
        if waits_for_all and self._waits_for_all:
            # As most of the time. What ends meanwhile is watched no longer by whoever learns of it.
            return
        self._waits_for_all = waits_for_all
        if self._is_connected:
            busy = bool(self._outgoing)
            self._watch(self._connection.fileno(), select.POLLIN | (select.POLLOUT if busy else 0))
            is_open = channel.state == OPEN_STATE and not busy
            if self._has_stdin:
                self._watch(STDIN, select.POLLIN if is_open and channel.sendable else 0)
        self._watch(self._signals.descriptor, select.POLLIN)
        if self._launcher is not None and self._launcher.descriptor >= 0:
            self._watch(self._launcher.descriptor, select.POLLIN)
        self._watch_output(self._stdout, self._on_stdout)
        self._watch_output(self._stderr, self._on_stderr)

    def _watch_output(self, output: Output, handler: "Callable[[int], None]") -> None:
        if output.descriptor >= 0:
            self._handlers[output.descriptor] = handler
            self._watch(output.descriptor, select.POLLOUT if output.has_backlog else 0)

    def _watch(self, descriptor: int, events: int) -> None:
        """Poll for `events`; for none, not at all: poll(2) reports a closed peer whether asked or not."""
        if self._watched.get(descriptor, 0) == events:
            return
        if events:
            self._poll.register(descriptor, events)
        else:
            self._poll.unregister(descriptor)
        self._watched[descriptor] = events

    def _wait_milliseconds(self) -> "int | None":
        """How long to wait for events at most; None for ever, which is right while a command runs."""
        deadlines = []
        if self._channel.state == OPENING:
            deadlines.append(self._open_deadline)
        if self._urge_deadline:
            deadlines.append(self._urge_deadline)
        if self._linger_deadline:
            deadlines.append(self._linger_deadline)
        if self._launcher is not None and self._launcher.descriptor < 0:
            deadlines.append(time.monotonic() + POLL_SECONDS)
        if not deadlines:
            return None
        return max(0, int((min(deadlines) - time.monotonic()) * 1000) + 1)

    def _check_deadlines(self) -> None:
        if self._launcher is not None and self._launcher.descriptor < 0 and self._launcher.is_gone():
            self._on_launcher(0)
        if self._channel.state == OPENING and time.monotonic() >= self._open_deadline:
            raise HostLost(
                "the host was not ready within %g seconds; set ROUJIAMO_TIMEOUT to wait longer"
                % self._timeout_seconds
            )
        if self._linger_deadline and time.monotonic() >= self._linger_deadline:
            raise Stopped(_FAILURE)
        if self._urge_deadline and time.monotonic() >= self._urge_deadline:
            self._urge_deadline = 0.0
            if self._is_connected and (self._outgoing or self._has_unread()):
                raise SessionGone(
                    "the session takes no signals, so it is stopped or overloaded; look at it, or start another"
                )

    # What happens

    def _on_launcher(self, _events: int) -> None:
        """A launcher may end a moment before the daemon that it has told to end; one that does not end is ended."""
        self._note("the launcher that started this command has ended")
        if self._channel.state != OPEN_STATE:
            raise Stopped(_FAILURE)
        assert self._launcher is not None
        self._watch(self._launcher.descriptor, 0)
        self._launcher = None
        self._linger_deadline = time.monotonic() + LINGER_SECONDS

    def _on_signals(self, _events: int) -> None:
        for number in self._signals.take():
            if self._channel.state != OPEN_STATE:
                raise Stopped(128 + number)
            if number in (_INT, _TERM):
                now = time.monotonic()
                if self._urged_at and now < self._urged_at + INSISTENCE_SECONDS:
                    raise Stopped(128 + number)
                self._urged_at = now
                self._urge_deadline = now + INSISTENCE_SECONDS
            self._note("forwarding the signal %s" % SIGNAL_NAMES[number].decode())
            self._channel.send_signal(SIGNAL_NAMES[number])
        self._send()

    def _on_stdin(self, _events: int) -> None:
        if self._channel.state != OPEN_STATE or not self._channel.sendable:
            return
        data = read_stdin(min(self._channel.sendable, MAX_DATA))
        if data:
            self._channel.send_data(data)
        elif data is not None:
            self._watch(STDIN, 0)
            self._has_stdin = False
            self._channel.send_eof()
        self._send()

    def _on_stdout(self, _events: int) -> None:
        self._channel.consume(self._stdout.flush())
        self._send()

    def _on_stderr(self, _events: int) -> None:
        try:
            self._channel.consume(self._stderr.flush())
        except (ReaderGone, OutputError):
            self._break_stderr()
        self._send()

    def _break_stderr(self) -> None:
        """Go on without stderr: the command's result is in its stdout and its status, as for ssh."""
        self._stderr_is_broken = True
        self._channel.consume(self._stderr.discard())

    def _on_connection(self, events: int) -> None:
        if events & select.POLLOUT:
            self._send()
        if not events & ~select.POLLOUT:
            return
        try:
            size = self._connection.recv_into(self._received)
        except BlockingIOError:
            return
        except ConnectionError:
            size = 0
        try:
            if not size:
                raise SessionGone(
                    "the session ended before the command did; see what it said last, and start another"
                )
            for frame_type, channel, payload in self._decoder.receive_data(self._received[:size]):
                if channel != CHANNEL:
                    raise ProtocolError(
                        "a frame for channel %d came, and there is only %d" % (channel, CHANNEL)
                    )
                self._on_event(*self._channel.receive_frame(frame_type, payload))
        except ProtocolError as error:
            self._fail(SessionGone("the session broke the protocol (%s); start another" % error))
        except SessionGone as error:
            self._fail(error)
        if size == len(self._received) < RECEIVE_SIZE:
            self._received = memoryview(bytearray(RECEIVE_SIZE))
        self._send()

    def _on_event(self, event: int, value: "Any") -> None:
        if event == DATA:
            self._channel.consume(self._stdout.write(value))
        elif event == EXTENDED_DATA:
            self._on_stderr_data(value)
        elif event == OPEN_OK:
            self._on_open()
        elif event == EOF:
            self._stdout.end()
        elif event == EXIT_STATUS:
            # An exit status has 8 bits; more would turn into another status, perhaps 0.
            self._status = min(value, 255)
        elif event == EXIT_SIGNAL:
            self._status = 128 + SIGNAL_NUMBERS.get(value[0], 127)
        elif event == OPEN_FAILURE or (event == CLOSE and value is not None):
            self._fail(_remote_failure(*value))
        elif event == CLOSE:
            if self._status < 0:
                self._fail(HostLost("the command ended without an exit status; the host's log says why"))
            else:
                self._disconnect()

    def _on_stderr_data(self, data: bytes) -> None:
        if self._stderr_is_broken:
            self._channel.consume(len(data))
            return
        try:
            self._channel.consume(self._stderr.write(data))
        except (ReaderGone, OutputError):
            self._channel.consume(len(data))
            self._break_stderr()

    def _on_open(self) -> None:
        self._note("the command runs")
        if self._invocation.background:
            self._go_to_background()
        if not self._has_stdin:
            self._channel.send_eof()

    def _go_to_background(self) -> None:
        """Let whoever waits for the shim go on, as ssh -f does; what started it is no concern any more."""
        if posix.fork():
            posix._exit(0)
        posix.setsid()
        if self._launcher is not None:
            self._watch(self._launcher.descriptor, 0)
            self._launcher = None

    def _fail(self, failure: RoujiamoError) -> None:
        """Remember why, and write out what came before."""
        self._failure = failure
        self._disconnect()

    def _disconnect(self) -> None:
        self._channel.close()
        self._watch(STDIN, 0)
        self._watch(self._connection.fileno(), 0)
        self._is_connected = False

    # The socket

    def _send(self) -> None:
        """Give the socket what it takes now."""
        while True:
            if not self._outgoing:
                self._outgoing = memoryview(self._channel.data_to_send())
                if not self._outgoing:
                    return
            try:
                sent = self._connection.send(self._outgoing, _socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            except ConnectionError:
                # What the server sent before it went may still be read, its reason above all.
                sent = len(self._outgoing)
            self._outgoing = self._outgoing[sent:]

    def _has_unread(self) -> bool:
        """Whether the server has left some of what was sent to it in its socket (unix(7), SIOCOUTQ)."""
        # Needed once in a thousand runs, and a file to load.
        import fcntl

        try:
            return fcntl.ioctl(self._connection.fileno(), SIOCOUTQ, b"\0\0\0\0") != b"\0\0\0\0"
        except OSError:
            # An architecture with another number: then only a second signal ends the shim.
            return False


def _remote_failure(status: int, sentence: str, host: str) -> RemoteCommandError:
    failure = RemoteCommandError(sentence)
    failure.host = host
    # Whatever the server says, a failure is none of the command's successes.
    failure.exit_status = status if 0 < status < 256 else _FAILURE
    return failure
