"""The session of a launcher that has none: found where its name says, or started by the first shim that needs it.

Runs in the shim, where ROUJIAMO_SOCKET is not set, and ROUJIAMO_MASTER is or there is a configuration.

    1  the session's folder is named after the launcher, by its pid and start time, so two launchers never mix
    2  a broker listens there: connect, and that is all
    3  none does: make the folder and lock it; whoever has the lock looks once more, and starts the session
    4  the starter (`roujiamo.starter`) says when the broker listens, or why there will be none

The lock is the starter's as well, so a shim that is killed leaves no second one the time to begin. By hand, with no
launcher, the session is this one command's; so it is where the launcher was killed before its shim could look, and then
that one command is a daemon that ends by itself. Trusts a folder that is this user's alone.
"""

import _socket
import errno
import fcntl
import posix
import select
import sys
import time

from roujiamo.errors import RoujiamoError, SessionGone
from roujiamo.protocol.rsh import Invocation, show
from roujiamo.shim.launcher import Launcher, read_start
from roujiamo.shim.session import NobodyThere, SettingError, check_owner, connect
from roujiamo.shim.signals import SignalPipe, Stopped
from roujiamo.system.private_folder import choose_folder, make_private

MYPY = False
if MYPY:
    from collections.abc import Callable

# The starter's Python, the broker's, and a Mesos library that loads slowly from a network file system.
START_SECONDS = 60.0
POLL_MILLISECONDS = 20
SWEEP_TRIES = 25
MAX_ANSWER = 65536

# unix(7): what a socket's address holds, without its closing zero.
_MAX_ADDRESS = 107
_KILL = 9


class LaunchersSession:
    """The session of `launcher`, or of this command alone where that is None."""

    def __init__(
        self,
        environment: "dict[bytes, bytes]",
        invocation: Invocation,
        launcher: "Launcher | None",
        signals: SignalPipe,
        timeout_seconds: float,
        note: "Callable[[str], None]",
    ) -> None:
        """Raises RoujiamoError where there is no safe place for it."""
        if launcher is None and invocation.background:
            raise SettingError("-f needs a session that lasts: start one with `roujiamo run`")
        self._environment = environment
        self._launcher = launcher
        self._signals = signals
        self._timeout_seconds = timeout_seconds
        self._note = note
        self._pid = posix.getpid() if launcher is None else launcher.pid
        self._start = read_start(self._pid) if launcher is None else launcher.start
        self._parent = choose_folder(environment)
        # Its name is that of any session's folder (roujiamo.system.runtime_folder).
        self._folder = self._parent + b"/%d-%08x" % (self._pid, self._start & 0xFFFFFFFF)
        self._address = self._folder + b"/socket"
        if len(self._address) > _MAX_ADDRESS:
            raise SettingError(
                "the path %s is too long for a unix socket; set ROUJIAMO_RUNTIME_DIR to a shorter one"
                % show(self._address)
            )

    def connect(self) -> _socket.socket:
        """Return a connection to the session's broker, started where there is none. Raises RoujiamoError, Stopped."""
        try:
            return self._connect()
        except NobodyThere:
            pass
        make_private(self._parent)
        deadline = time.monotonic() + START_SECONDS
        lock = self._lock(deadline)
        try:
            try:
                return self._connect()
            except NobodyThere:
                self._note(
                    "starting a session for %s"
                    % ("this command" if self._launcher is None else "the launcher")
                )
            try:
                self._start_session(lock, deadline)
            except BaseException:
                self._remove_empty_folder()
                raise
            return self._connect()
        finally:
            posix.close(lock)

    def _connect(self) -> _socket.socket:
        connection = connect(self._address, self._signals, self._timeout_seconds)
        # Nobody has named this address: in a shared temporary folder another user may have made it first.
        check_owner(connection, self._address)
        return connection

    def timeout_seconds(self) -> float:
        """Return how long to wait for a host: as the variable says, else as the session's broker does."""
        if self._environment.get(b"ROUJIAMO_TIMEOUT"):
            return self._timeout_seconds
        try:
            descriptor = posix.open(self._folder + b"/timeout", posix.O_RDONLY | posix.O_CLOEXEC)
        except OSError:
            # The session is ending.
            return self._timeout_seconds
        try:
            return float(posix.read(descriptor, 64))
        except (OSError, ValueError):
            return self._timeout_seconds
        finally:
            posix.close(descriptor)

    # The lock

    def _lock(self, deadline: float) -> int:
        """Return a descriptor of the session's folder, which is there and locked by it."""
        while True:
            try:
                make_private(self._folder)
                descriptor = posix.open(self._folder, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
            except (OSError, RoujiamoError):
                # The end of another session may have removed the folder around it, when it was empty.
                if time.monotonic() > deadline:
                    raise
                make_private(self._parent)
                self._pause(None)
                continue
            try:
                if self._try_lock(descriptor) and self._is_folder(descriptor):
                    locked, descriptor = descriptor, -1
                    return locked
            finally:
                if descriptor >= 0:
                    posix.close(descriptor)
            if time.monotonic() > deadline:
                raise SessionGone(
                    "another roujiamo-rsh has been starting the session in %s for %g seconds; end it and start again"
                    % (show(self._folder), START_SECONDS)
                )
            self._pause(None)

    def _try_lock(self, descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            return False
        return True

    def _is_folder(self, descriptor: int) -> bool:
        """Whether it is still the folder of that name: the session that it was of may have ended meanwhile."""
        try:
            state = posix.stat(self._folder)
        except OSError:
            return False
        opened = posix.fstat(descriptor)
        return (state.st_dev, state.st_ino) == (opened.st_dev, opened.st_ino)

    def _pause(self, descriptor: "int | None") -> bool:
        """Wait for a moment or until `descriptor` is readable, and tell which. Raises Stopped as the relay does."""
        poll = select.poll()
        poll.register(self._signals.descriptor, select.POLLIN)
        if self._launcher is not None and self._launcher.descriptor >= 0:
            poll.register(self._launcher.descriptor, select.POLLIN)
        if descriptor is not None:
            poll.register(descriptor, select.POLLIN)
        ready = [each for each, _ in poll.poll(POLL_MILLISECONDS if descriptor is None else 500)]
        if self._signals.descriptor in ready:
            raise Stopped(128 + self._signals.take()[0])
        if self._launcher is not None and (self._launcher.descriptor in ready or self._launcher.is_gone()):
            raise Stopped(SessionGone.exit_status)
        return descriptor in ready

    # The starter

    def _start_session(self, lock: int, deadline: float) -> None:
        """Run the starter until it says that the broker listens. Raises SessionGone with its reason."""
        read_end, write_end = posix.pipe2(posix.O_CLOEXEC)
        try:
            pid = self._run_starter(lock, write_end)
            posix.close(write_end)
            try:
                answer = self._read_answer(read_end, deadline)
            except BaseException:
                posix.kill(pid, _KILL)
                posix.waitpid(pid, 0)
                raise
            posix.waitpid(pid, 0)
        finally:
            posix.close(read_end)
        if answer != b"ready":
            sentence = show(answer) if answer else "the starter said nothing; look at what stands above"
            raise SessionGone("no session could be started: %s" % sentence)

    def _run_starter(self, lock: int, answer: int) -> int:
        """Return the pid of the starter, whose stdout is `answer`; stderr is ours."""
        # This file is roujiamo/shim/election.py.
        root = __file__.rpartition("/")[0].rpartition("/")[0]
        owner = "%d:%d" % (self._pid, self._start)
        arguments = [sys.executable, root + "/starter/__main__.py", owner, self._folder]  # type: list[str | bytes]
        pid = posix.fork()
        if pid:
            return pid
        try:
            null = posix.open("/dev/null", posix.O_RDONLY)
            posix.dup2(null, 0)
            posix.dup2(answer, 1)
            posix.set_inheritable(lock, True)
            posix.execve(sys.executable, arguments, self._environment)
        finally:
            posix._exit(127)

    def _read_answer(self, descriptor: int, deadline: float) -> bytes:
        answer = b""
        while len(answer) < MAX_ANSWER:
            if self._pause(descriptor):
                data = posix.read(descriptor, 4096)
                if not data:
                    break
                answer += data
            elif time.monotonic() > deadline:
                raise SessionGone("the session did not start within %g seconds" % START_SECONDS)
        return answer.strip()

    # What may be left

    def sweep(self) -> None:
        """Remove the session's folder where its broker is gone and had no time to."""
        try:
            lock = posix.open(self._folder + b"/lock", posix.O_RDWR | posix.O_CLOEXEC)
        except OSError:
            return
        try:
            # A killed broker's sockets may be closed a moment before its lock is let go.
            for _ in range(SWEEP_TRIES):
                if self._try_lock(lock):
                    break
                time.sleep(POLL_MILLISECONDS / 1000)
            else:
                return
            for name in posix.listdir(self._folder):
                posix.unlink(self._folder + b"/" + name)
            self._remove_empty_folder()
        except OSError:
            # Another shim is at it too.
            pass
        finally:
            posix.close(lock)

    def _remove_empty_folder(self) -> None:
        try:
            posix.rmdir(self._folder)
            if self._parent.rpartition(b"/")[2].startswith(b"roujiamo"):
                posix.rmdir(self._parent)
        except OSError:
            pass
