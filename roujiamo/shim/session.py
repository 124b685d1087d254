"""Which session a command belongs to, and the connection to it.

Runs in the shim. The server at the other end is the broker, or inside a task the proxy's worker. A socket with a path
is trusted because of the folder it lies in, which only this user may enter; an abstract one has no folder, so its
owner is asked for (unix(7), SO_PEERCRED) before the token is given away.
"""

import _socket
import errno
import posix
import select
import sys
import time

from roujiamo.errors import ProtocolError, SessionGone, UsageError
from roujiamo.protocol.rsh import show
from roujiamo.shim.signals import SignalPipe, Stopped

# The session answers only when the host is ready, which may take long; connecting to it may not.
DEFAULT_TIMEOUT_SECONDS = 600.0
CONNECT_SECONDS = 30.0
RETRY_MILLISECONDS = 10

START_ONE = "start one with `roujiamo run`"
SOCKET_VARIABLE = b"ROUJIAMO_SOCKET"
MASTER_VARIABLE = b"ROUJIAMO_MASTER"


class NobodyThere(SessionGone):
    """Nothing listens at the session's address."""


class SettingError(UsageError):
    """A ROUJIAMO_* variable has a value that cannot be meant; 255, as every failure of the agent's own."""

    exit_status = 255


def find_session(environment: "dict[bytes, bytes]") -> bytes:
    """Return the address of the session's socket: a path, or a NUL and an abstract name.

    Raises SessionGone where there is none.
    """
    name = environment.get(SOCKET_VARIABLE, b"")
    if not name:
        raise SessionGone(
            "no session was found: ROUJIAMO_SOCKET is not set; %s, or set ROUJIAMO_MASTER" % START_ONE
        )
    return b"\0" + name[1:] if name[:1] == b"@" else name


def read_timeout(environment: "dict[bytes, bytes]") -> float:
    """Return how many seconds to wait for the host: ROUJIAMO_TIMEOUT, else 600. Raises SettingError."""
    text = environment.get(b"ROUJIAMO_TIMEOUT", b"")
    if not text:
        return DEFAULT_TIMEOUT_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    # Not a number (nan) is not in between either; and poll(2) counts milliseconds in 31 bits.
    if not 0 < seconds < 2_000_000:
        raise SettingError("ROUJIAMO_TIMEOUT is %s, not a number of seconds; set it to one" % show(text))
    return seconds


def connect(address: bytes, signals: SignalPipe, timeout_seconds: float) -> _socket.socket:
    """Return a connected socket that never blocks.

    Raises SessionGone where nobody answers, and Stopped at a signal.
    """
    connection = _socket.socket(
        _socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC, 0
    )
    deadline = time.monotonic() + min(CONNECT_SECONDS, timeout_seconds)
    poll = select.poll()
    poll.register(signals.descriptor, select.POLLIN)
    while True:
        try:
            connection.connect(address)
            break
        except BlockingIOError:
            # unix(7): the server's queue is full, as it may be when a launcher starts a hundred agents at once. There
            # is nothing to poll for.
            if time.monotonic() > deadline:
                raise SessionGone(
                    "the session at %s takes no connection; end it and %s"
                    % (_show_address(address), START_ONE)
                ) from None
        except OSError as error:
            nobody = error.errno in (errno.ENOENT, errno.ECONNREFUSED)
            raise (NobodyThere if nobody else SessionGone)(_explain(address, error)) from error
        if poll.poll(RETRY_MILLISECONDS):
            raise Stopped(128 + signals.take()[0])
    if address[:1] == b"\0":
        check_owner(connection, address)
    return connection


def check_owner(connection: _socket.socket, address: bytes) -> None:
    """Raise ProtocolError where another user than this one, or root, listens at `address`."""
    credentials = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    owner = int.from_bytes(credentials[4:8], sys.byteorder)
    if owner not in (0, posix.geteuid()):
        raise ProtocolError(
            "the socket %s belongs to the user %d, who is not you; %s"
            % (_show_address(address), owner, START_ONE)
        )


def _explain(address: bytes, error: OSError) -> str:
    where = _show_address(address)
    if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
        return "the session at %s is gone; %s" % (where, START_ONE)
    if error.errno in (errno.EACCES, errno.EPERM):
        return "the session at %s is another user's; %s" % (where, START_ONE)
    # A path that is too long for an address has no errno.
    return "ROUJIAMO_SOCKET leads nowhere (%s: %s); %s" % (where, error.strerror or error, START_ONE)


def _show_address(address: bytes) -> str:
    return show(b"@" + address[1:] if address[:1] == b"\0" else address)
