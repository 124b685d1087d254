"""stdin, stdout and stderr: passed on without ever blocking the poll loop.

Runs in the shim. A descriptor that came from the parent is shared with it: O_NONBLOCK set on it would make the parent's
own writes fail (ssh does that, and mpiexec shares its stderr with all its agents). So each kind of file has its way:

    pipe, terminal      opened once more through /proc/self/fd, which gives a descriptor with flags of its own
    socket              send(2) with MSG_DONTWAIT
    file, /dev/null     written as it is: a disk never makes poll(2) wait
    any other, or a pipe or terminal of another user: as much as must fit when poll(2) says that there is room
"""

import _socket
import posix

from roujiamo.errors import RemoteCommandError

STDIN = 0
STDOUT = 1
STDERR = 2

_FORMAT_MASK = 0o170000
_REGULAR = 0o100000
_SOCKET = 0o140000
_FIFO = 0o010000
_CHARACTER = 0o020000

# pipe(7): poll(2) calls a pipe writable when so many bytes fit.
PIPE_BUF = 4096
# What one write takes from the backlog: a pipe's capacity.
CHUNK = 65536


def fill_standard_descriptors() -> None:
    """Open /dev/null where stdin, stdout or stderr is closed: a socket that got their number would be written to."""
    while True:
        descriptor = posix.open("/dev/null", posix.O_RDWR)
        if descriptor > STDERR:
            posix.close(descriptor)
            return


def read_stdin(size: int) -> "bytes | None":
    """Return up to `size` bytes of stdin, b"" at its end, None where there are none now. Call when it is readable."""
    try:
        return posix.read(STDIN, size)
    except BlockingIOError:
        return None
    except OSError:
        # EIO: the terminal of a process group that nobody waits for. Nothing will ever come.
        return b""


class ReaderGone(Exception):
    """Nobody reads this output any more; where SIGPIPE would have come."""


class OutputError(RemoteCommandError):
    """stdout or stderr cannot be written: a full disk, for one."""


class Output:
    """stdout or stderr. `write` and `flush` return how many bytes are done with; the rest waits in here.

    What waits is bounded by the caller, who lets the peer send only what has been done with. Both raise ReaderGone
    where nobody reads any more, and OutputError.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        self._original = descriptor
        self._name = name
        self._backlog = bytearray()
        self._socket = None  # type: _socket.socket | None
        self._ending = False
        self.descriptor = -1
        self._limit = CHUNK
        self._is_blocking = False

    @property
    def has_backlog(self) -> bool:
        """Whether to call `flush` when `descriptor` is writable."""
        return bool(self._backlog)

    def write(self, data: bytes) -> int:
        """Write `data` as far as there is room now, and keep the rest."""
        if self.descriptor < 0:
            self._prepare()
        done = 0
        if not self._backlog and not self._is_blocking:
            done = self._write_now(data)
            if done == len(data):
                return done
            data = data[done:]
        self._backlog += data
        return done

    def flush(self) -> int:
        """Write what waits as far as there is room now. Call when `descriptor` is writable."""
        done = self._write_now(self._backlog[: self._limit])
        del self._backlog[:done]
        if self._ending and not self._backlog:
            self._close()
        return done

    def end(self) -> None:
        """No `write` follows: let the reader see the end of the stream as soon as it has what waits."""
        self._ending = True
        if not self._backlog:
            self._close()

    def discard(self) -> int:
        """Forget what waits, and return how much that was: its reader is gone."""
        size = len(self._backlog)
        self._backlog.clear()
        return size

    def _write_now(self, data: "bytes | bytearray") -> int:
        try:
            if self._socket is not None:
                return self._socket.send(data, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
            return posix.write(self.descriptor, data)
        except BlockingIOError:
            return 0
        except ConnectionError as error:
            raise ReaderGone() from error
        except OSError as error:
            raise OutputError("%s cannot be written: %s" % (self._name, error.strerror)) from error

    def _prepare(self) -> None:
        """Find the way for this kind of file."""
        self.descriptor = self._original
        kind = posix.fstat(self._original).st_mode & _FORMAT_MASK
        if kind == _SOCKET:
            # A descriptor of its own, since the object closes what it was given. The family is of no importance.
            self._socket = _socket.socket(fileno=posix.dup(self._original))
        elif kind == _FIFO or (kind == _CHARACTER and posix.isatty(self._original)):
            try:
                self.descriptor = posix.open(
                    "/proc/self/fd/%d" % self._original,
                    posix.O_WRONLY | posix.O_NONBLOCK | posix.O_NOCTTY | posix.O_CLOEXEC,
                )
            except OSError:
                self._is_blocking = True
        elif kind not in (_REGULAR, _CHARACTER):
            self._is_blocking = True
        if self._is_blocking:
            self._limit = PIPE_BUF

    def _close(self) -> None:
        """Close the stream for its reader; the descriptors stay taken, and can still be polled."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        null = posix.open("/dev/null", posix.O_WRONLY)
        posix.dup2(null, self._original)
        if self.descriptor >= 0:
            posix.dup2(null, self.descriptor)
        posix.close(null)
