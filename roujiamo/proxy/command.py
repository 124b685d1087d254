"""A remote command on this host: its process, its three pipes, its channel.

Runs in the worker's loop; never blocks. Trusts the opener to be who the broker says; the command itself is the user's,
and may do what it likes: fill its pipes, ignore signals, fork away, close its ends.
"""

import errno
import fcntl
import os
import resource

from roujiamo.errors import ProtocolError
from roujiamo.protocol.channel import CLOSED, Channel
from roujiamo.protocol.frames import (
    CLOSE,
    DATA,
    EOF,
    MAX_DATA,
    SIGNAL,
    SIGNAL_NAMES,
    SIGNAL_NUMBERS,
)
from roujiamo.protocol.link import drop_written
from roujiamo.proxy.spawn import start_shell
from roujiamo.system import processes
from roujiamo.system.selector import READ, WRITE, Selector

MYPY = False
if MYPY:
    # The C module has no type stub.
    import signal as _signal
    from collections.abc import Callable, Mapping
    from typing import Protocol

    class Host(Protocol):
        """What a command needs of the worker."""

        selector: Selector

        @property
        def is_congested(self) -> bool:
            """Whether nothing more is to be sent for now."""

        def after(self, seconds: float, action: "Callable[[], None]") -> None:
            """Call `action` later."""

        def on_progress(self, command: "RemoteCommand") -> None:
            """Send what the command's channel has to send, and forget the command when it is over."""
else:
    # `signal` makes enums of the numbers, which takes 5 ms.
    import _signal


# For whoever has lost its shim: nobody waits for a last word of it.
ORPHAN_GRACE_SECONDS = 2.0
# SIGKILL is repeated until it finds nobody, since what forks while being killed can be missed once.
KILL_PASSES = 20
KILL_PASS_SECONDS = 0.1

# fcntl(2): Python has the name since 3.10 only.
F_SETPIPE_SZ = 1031
# What a pipe may hold once its command has shown that it moves much, and what one read takes then: four frames. With a
# pipe's usual 64 KiB, command and worker wait for each other at each frame.
WIDE_PIPE = 256 << 10
# What one write takes at most (sysconf(3), IOV_MAX).
MAX_PIECES = 1024

# The ones for the whole tree, as a shell that only passes its own end on leaves the rest running.
_ENDING = (_signal.SIGTERM, _signal.SIGHUP)

# Kept free for what must work with any number of commands: looking at /proc, coming back to the broker.
RESERVED_DESCRIPTORS = 24


class RemoteCommand:
    """One command, from OPEN to CLOSE. `start` it, give it its channel's frames, tell it how its process ended."""

    def __init__(self, host: "Host", channel: Channel, kill_grace_seconds: float) -> None:
        """`channel`: the acceptor's side, REQUESTED."""
        self.channel = channel
        self.pid = 0
        self.is_reaped = False
        self._host = host
        self._kill_grace_seconds = kill_grace_seconds
        self._tree = None  # type: processes.Tree | None
        self._stdin = None  # type: int | None
        self._outputs = {}  # type: dict[int, Callable[[bytes], int]]
        self._watched = set()  # type: set[int]
        # As the pipes are watched now.
        self._may_read = False
        self._has_waiting = False
        self._wide = set()  # type: set[int]
        self._waiting = []  # type: list[bytes]

    def start(self, command: bytes, environment: "Mapping[bytes, bytes]", sandbox: str) -> None:
        """Run `sh -c COMMAND`, as sshd does. Raises OSError where there can be no such process."""
        ours, theirs = _make_pipes()
        try:
            self.pid = start_shell(command, environment, sandbox, theirs)
        except OSError:
            _close_all(ours)
            raise
        finally:
            _close_all(theirs)
        self._tree = processes.Tree(self.pid)
        self.channel.accept()
        self._stdin, stdout, stderr = ours
        self._outputs = {stdout: self.channel.send_data, stderr: self.channel.send_stderr}
        self.update()

    def receive_frame(self, frame_type: int, payload: bytes) -> None:
        """Take one frame of the channel."""
        try:
            event, value = self.channel.receive_frame(frame_type, payload)
        except ProtocolError as error:
            # One confused shim is no reason to end the others' commands.
            self.channel.close(255, str(error))
            self._abandon()
        else:
            if event == DATA:
                self._waiting.append(value)
                self._write()
                if self._waiting:
                    # The payload may be a view of what is received into again.
                    self._waiting[-1] = bytes(self._waiting[-1])
            elif event == EOF:
                self._write()
            elif event == SIGNAL:
                self._signal(SIGNAL_NUMBERS[value])
            elif event == CLOSE:
                self._abandon()
        self._host.on_progress(self)

    def on_ended(self, status: int) -> None:
        """Its process has ended with this wait status."""
        self.is_reaped = True
        if self.channel.state != CLOSED:
            name = SIGNAL_NAMES.get(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else None
            if name is not None:
                self.channel.send_exit_signal(name, os.WCOREDUMP(status))
            elif os.WIFSIGNALED(status):
                # A real-time signal, which has no name on the wire: as a shell says it.
                self.channel.send_exit_status(128 + os.WTERMSIG(status))
            else:
                self.channel.send_exit_status(os.WEXITSTATUS(status))
            self._close_when_done()
        self._host.on_progress(self)

    def update(self) -> None:
        """Watch those pipes that something can be done with now."""
        may_read = self.channel.sendable > 0 and not self._host.is_congested
        has_waiting = bool(self._waiting)
        if may_read == self._may_read and has_waiting == self._has_waiting:
            return
        self._may_read, self._has_waiting = may_read, has_waiting
        for pipe in self._outputs:
            self._watch(pipe, may_read, READ, self._on_output)
        if self._stdin is not None:
            self._watch(self._stdin, has_waiting, WRITE, self._on_input)

    def _watch(self, pipe: int, wanted: bool, events: int, action: "Callable[[int], None]") -> None:
        # Unregistered, not only muted: epoll reports the other end's close whether asked or not.
        if wanted and pipe not in self._watched:
            self._watched.add(pipe)
            self._host.selector.register(pipe, events, lambda mask: action(pipe))
        elif not wanted and pipe in self._watched:
            self._watched.remove(pipe)
            self._host.selector.unregister(pipe)

    def _close(self, pipe: int) -> None:
        self._watch(pipe, False, 0, self._close)
        self._outputs.pop(pipe, None)
        self._wide.discard(pipe)
        os.close(pipe)

    def _on_output(self, pipe: int) -> None:
        send = self._outputs.get(pipe)
        room = min(WIDE_PIPE if pipe in self._wide else MAX_DATA, self.channel.sendable)
        if send is None or room == 0 or self._host.is_congested:
            self.update()
            return
        try:
            data = os.read(pipe, room)
        except BlockingIOError:
            return
        if data:
            if len(data) == MAX_DATA:
                self._widen(pipe)
            send(data)
        else:
            if send == self.channel.send_data:
                self.channel.send_eof()
            self._close(pipe)
            self._close_when_done()
        self._host.on_progress(self)

    def _on_input(self, pipe: int) -> None:
        self._write()
        self._host.on_progress(self)

    def _write(self) -> None:
        """Give the command its stdin, as far as it takes it now."""
        try:
            while self._waiting and self._stdin is not None:
                written = os.writev(self._stdin, self._waiting[:MAX_PIECES])
                self.channel.consume(written)
                drop_written(self._waiting, written)
        except BlockingIOError:
            if self._stdin is not None:
                self._widen(self._stdin)
            return
        except OSError:
            # The command reads no more; what still comes is taken and dropped, as sshd does.
            self._close_stdin()
        if self._stdin is None:
            self.channel.consume(sum(map(len, self._waiting)))
            self._waiting.clear()
        elif self.channel.receive_eof:
            self._close_stdin()

    def _widen(self, pipe: int) -> None:
        """Let a pipe that has been full hold more from now on.

        Not each pipe from its beginning: what a user's pipes may hold is bounded (pipe(7), pipe-user-pages-soft).
        """
        if pipe not in self._wide:
            self._wide.add(pipe)
            try:
                fcntl.fcntl(pipe, F_SETPIPE_SZ, WIDE_PIPE)
            except OSError:
                # The user has no more; then it goes on as it was.
                pass

    def _close_stdin(self) -> None:
        if self._stdin is not None:
            self._close(self._stdin)
            self._stdin = None

    def _close_when_done(self) -> None:
        """CLOSE after the exit status and the end of both streams, whichever comes last."""
        if self.is_reaped and not self._outputs:
            self.channel.close()
            self._close_stdin()
            self._waiting.clear()

    def _signal(self, number: int) -> None:
        if number in _ENDING:
            self._end_tree(number, self._kill_grace_seconds)
        elif number == _signal.SIGKILL:
            self._end_tree(number, 0.0)
        elif not self.is_reaped:
            try:
                os.killpg(self.pid, number)
            except OSError:
                pass

    def _abandon(self) -> None:
        """Nobody listens any more: let go of the pipes, and end the processes unless the command had ended anyway."""
        for pipe in list(self._outputs):
            self._close(pipe)
        self._close_stdin()
        self._waiting.clear()
        if not self.is_reaped:
            self._end_tree(_signal.SIGTERM, ORPHAN_GRACE_SECONDS)

    def _end_tree(self, number: int, grace_seconds: float) -> None:
        tree = self._tree
        if tree is not None and tree.signal(number):
            self._host.after(grace_seconds, lambda: self._kill(tree, KILL_PASSES))

    def _kill(self, tree: processes.Tree, passes: int) -> None:
        if passes and tree.signal(_signal.SIGKILL):
            self._host.after(KILL_PASS_SECONDS, lambda: self._kill(tree, passes - 1))


def _make_pipes() -> "tuple[list[int], list[int]]":
    """Return our ends (never blocking) and the command's ends of stdin, stdout and stderr."""
    ours = []  # type: list[int]
    theirs = []  # type: list[int]
    try:
        for is_input in (True, False, False):
            read_end, write_end = os.pipe()
            ours.append(write_end if is_input else read_end)
            theirs.append(read_end if is_input else write_end)
            os.set_blocking(ours[-1], False)
        # The kernel gives the lowest number that is free.
        if max(ours + theirs) >= resource.getrlimit(resource.RLIMIT_NOFILE)[0] - RESERVED_DESCRIPTORS:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    except OSError:
        _close_all(ours + theirs)
        raise
    return ours, theirs


def _close_all(descriptors: "list[int]") -> None:
    for descriptor in descriptors:
        os.close(descriptor)
