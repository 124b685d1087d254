"""The worker: the half of the proxy that works. One loop over a `selector`; it owns waitpid.

Runs in the Mesos task as init's child. It speaks with the broker (`connection`), runs remote commands (`command`), and
passes on the requests of the shims inside the task (`relay`). It trusts the broker, which has proved to know the
session's secret, and ends when the broker has: by a GOODBYE, by a refused connection, or when the grace to come back is
over. Whatever the commands have left is init's to end; where init is gone, the worker does it itself.
"""

import _socket
import errno
import heapq
import itertools
import os
import resource
import time

from roujiamo.errors import ProtocolError
from roujiamo.protocol import frames
from roujiamo.protocol.channel import ACCEPTOR, CLOSED, Channel
from roujiamo.proxy import environment
from roujiamo.proxy.command import RemoteCommand
from roujiamo.proxy.connection import BrokerConnection, BrokerGone
from roujiamo.proxy.ending import Session
from roujiamo.proxy.init import ENDING_SIGNALS, WATCHED_SIGNALS
from roujiamo.proxy.log import say
from roujiamo.proxy.relay import ShimListener
from roujiamo.proxy.settings import Settings
from roujiamo.proxy.shim_files import install_shim
from roujiamo.proxy.spawn import keep_descriptors
from roujiamo.proxy.welcome import Welcome
from roujiamo.system import processes
from roujiamo.system.selector import READ, Selector

MYPY = False
if MYPY:
    # The C module has no type stub.
    import signal as _signal
    from collections.abc import Callable
    from typing import NoReturn
else:
    # `signal` makes enums of the numbers, which takes 5 ms.
    import _signal

FAREWELL_SECONDS = 0.5
# Three pipes for each of a thousand commands, and room.
WANTED_DESCRIPTORS = 8192

# The statuses of a shell, where the command could not be started (POSIX, 2.8.2).
_NOT_FOUND = 127
_NOT_EXECUTABLE = 126
_FAILURE = 255


def main(
    connection: _socket.socket,
    modules: "dict[str, str | bytes]",
    session: Session,
    send_key: bytes,
    receive_key: bytes,
    watch: int,
) -> int:
    """Work until the session ends; return the exit status.

    `modules`: the code that came, the shim's with it. `watch`: a pipe that closes when init ends.
    """
    keep_descriptors()
    # Orphans come here, not to init: so that they are found when it is init that has been killed.
    session.has_subreaper = processes.become_subreaper()
    worker = Worker(connection, session, send_key, receive_key, watch)
    try:
        worker.install(modules)
        worker.run()
    except SessionEnded as end:
        say(str(end))
        if end.farewell:
            worker.broker.farewell(str(end), FAREWELL_SECONDS)
        if end.init_is_gone:
            session.end()
        return end.status


class SessionEnded(Exception):
    """The session is over on this host; the text says why."""

    def __init__(
        self, sentence: str, status: int, farewell: bool = False, init_is_gone: bool = False
    ) -> None:
        """`farewell`: the broker is there, and should be told."""
        super().__init__(sentence)
        self.status = status
        self.farewell = farewell
        self.init_is_gone = init_is_gone


class Worker:
    """The loop and what it holds: the broker, the commands by channel and by pid, the timers."""

    def __init__(
        self, connection: _socket.socket, session: Session, send_key: bytes, receive_key: bytes, watch: int
    ) -> None:
        self.selector = Selector()
        self.broker = BrokerConnection(self.selector, connection, send_key, receive_key, self._on_frame)
        self.settings = Settings({})
        self._connection = connection
        self._session = session
        self._sandbox = os.path.dirname(session.folder)
        self._environment = {}  # type: dict[bytes, bytes]
        self._commands = {}  # type: dict[int, RemoteCommand]
        self._running = {}  # type: dict[int, RemoteCommand]
        self._numbers = itertools.count(1)
        self._timers = []  # type: list[tuple[float, int, Callable[[], None]]]
        self._has_held_back = False
        self.selector.register(watch, READ, self._on_init_gone)
        self._wake_up = _watch_signals()
        self.selector.register(self._wake_up, READ, self._on_signal)
        self._shims = ShimListener(self)

    def install(self, modules: "dict[str, str | bytes]") -> None:
        """Put the shim where commands find it. Raises SessionEnded."""
        try:
            install_shim(self._session.folder, modules)
        except OSError as error:
            what = "%s: %s" % (error.filename, error.strerror) if error.filename else error.strerror
            raise SessionEnded("cannot set the host up: %s" % what, 1, farewell=True) from error

    def _on_welcome(self, payload: bytes) -> None:
        """Take what the session wants, and tell the broker that the host is ready."""
        welcome = Welcome(payload)
        self.settings = Settings(welcome.settings)
        if self.settings.unlocks_memory:
            _unlock_memory()
        self.broker.configure(welcome.resume, self.settings)
        self._environment = environment.command_environment(
            environment.task_environment(),
            welcome.environment,
            welcome.prefix,
            self._session.folder,
            self._shims.name,
            self._shims.token,
        )
        _raise_limit()
        facts = environment.host_facts(self._connection, self._sandbox)
        self.broker.send_frame(frames.READY, 0, facts)
        self.broker.acknowledge()
        say("ready for the broker at %s" % self.broker.peer)

    def run(self) -> "NoReturn":
        """Work until SessionEnded is raised."""
        try:
            while True:
                # Before all else: somebody waits for it.
                self.broker.flush()
                if self._has_held_back:
                    self._let_go_on()
                now = time.monotonic()
                deadline = self.broker.deadline
                if self._timers:
                    deadline = min(deadline, self._timers[0][0])
                if now < deadline:
                    # A little late, so that what is due is due when the loop looks at its clock. An hour is the most,
                    # since epoll_wait(2) takes no more than some weeks.
                    self.selector.serve(min(3600.0, deadline - now) + 0.001)
                else:
                    # What has arrived comes before what is due: this process may have been stopped for long.
                    self.selector.serve(0)
                    self._on_time(time.monotonic())
        except BrokerGone as gone:
            raise SessionEnded("%s; ending what runs here" % gone, 1) from gone

    # What commands and relays need of their host.

    @property
    def is_congested(self) -> bool:
        """Whether the broker takes less than this host has for it. Who is told so is updated when that has changed."""
        is_congested = self.broker.is_congested
        self._has_held_back = self._has_held_back or is_congested
        return is_congested

    def send_frame(self, frame_type: int, channel: int, payload: bytes = b"") -> None:
        """Queue one frame for the broker."""
        self.broker.send_frame(frame_type, channel, payload)

    def after(self, seconds: float, action: "Callable[[], None]") -> None:
        """Call `action` in so many seconds."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), action))

    def on_progress(self, command: RemoteCommand) -> None:
        """Send what the command's channel has to send, and forget the command when it is over."""
        self.broker.send_frames(command.channel.frames_to_send())
        command.update()
        if command.channel.state == CLOSED:
            self._commands.pop(command.channel.number, None)

    def _on_time(self, now: float) -> None:
        """Do what is due. Raises BrokerGone."""
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
        self.broker.on_time(now)

    def _let_go_on(self) -> None:
        """Have those read on that were held back, once there is room again."""
        if not self.broker.is_congested:
            self._has_held_back = False
            for command in list(self._commands.values()):
                command.update()
            self._shims.update()

    def _on_frame(self, frame_type: int, channel: int, payload: bytes) -> None:
        command = self._commands.get(channel)
        if command is not None:
            command.receive_frame(frame_type, payload)
        elif channel == 0:
            if frame_type == frames.WELCOME:
                self._on_welcome(payload)
            elif frame_type == frames.GOODBYE:
                sentence = payload[:200].decode("utf-8", "replace")
                raise SessionEnded("the broker ends the session: %s" % sentence, 0)
        elif channel % 2 == 0:
            self._shims.receive_frame(frame_type, channel, payload)
        elif frame_type == frames.OPEN:
            self._open(channel, payload)
        # Anything else was on its way to a channel that is closed here.

    def _open(self, number: int, payload: bytes) -> None:
        channel = Channel(number, ACCEPTOR)
        try:
            _, (_, command, _) = channel.receive_frame(frames.OPEN, payload)
        except ProtocolError as error:
            self.broker.send_frame(frames.CLOSE, number)
            say("refused a request: %s" % error)
            return
        remote = RemoteCommand(self, channel, self.settings.kill_grace_seconds)
        marked = dict(self._environment)
        marked[b"ROUJIAMO_COMMAND"] = ("%s%d" % (self._session.marker, number)).encode("ascii")
        if len(self._running) >= self.settings.max_commands:
            channel.refuse(_FAILURE, "%d commands run there already; try again later" % len(self._running))
        elif b"\0" in command:
            channel.refuse(_FAILURE, "the command has a zero byte in it; take it out")
        else:
            try:
                remote.start(command, marked, self._sandbox)
            except OSError as error:
                channel.refuse(*_why_not_started(error))
            else:
                self._commands[number] = remote
                self._running[remote.pid] = remote
        self.on_progress(remote)

    def _on_init_gone(self, mask: int) -> None:
        raise SessionEnded(
            "the proxy's init is gone; ending what runs here", 1, farewell=True, init_is_gone=True
        )

    def _on_signal(self, mask: int) -> None:
        for number in self._wake_up.recv(4096):
            if number in ENDING_SIGNALS:
                name = frames.SIGNAL_NAMES[number].decode("ascii")
                raise SessionEnded(
                    "asked to end by SIG%s; ending what runs here" % name, 128 + number, farewell=True
                )
        for pid, status in processes.reap_children():
            command = self._running.pop(pid, None)
            # Others are orphans of commands, which came to us as their subreaper.
            if command is not None:
                command.on_ended(status)


def _watch_signals() -> _socket.socket:
    """Have each signal's number come out of a socket, and let signals in again, which init has blocked."""
    wake_up, written_to = _socket.socketpair()
    wake_up.setblocking(False)
    written_to.setblocking(False)
    _signal.set_wakeup_fd(written_to.detach())
    for number in WATCHED_SIGNALS:
        # A handler, so that commands start with the default instead of with "ignored".
        _signal.signal(number, lambda number, frame: None)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, WATCHED_SIGNALS)
    return wake_up


def _raise_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, WANTED_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _unlock_memory() -> None:
    """Fabrics register memory by locking it (RLIMIT_MEMLOCK): without a limit where that is allowed."""
    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    for limit in (resource.RLIM_INFINITY, hard):
        try:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
            return
        except (OSError, ValueError):
            # Raising the hard limit takes CAP_SYS_RESOURCE (setrlimit(2)).
            continue


def _why_not_started(error: OSError) -> "tuple[int, str]":
    if error.errno == errno.E2BIG:
        return _NOT_EXECUTABLE, "the command and its environment are too long for this system; shorten them"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return _NOT_FOUND, "%s is not there: no shell, or the task's sandbox is gone" % error.filename
    if error.errno in (errno.EACCES, errno.ENOEXEC):
        return _NOT_EXECUTABLE, "%s may not be used: %s" % (error.filename, error.strerror)
    return _FAILURE, "cannot start a process there: %s; a limit of that host may be too low" % error.strerror
