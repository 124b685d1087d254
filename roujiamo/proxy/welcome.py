"""The welcome: what the session wants of a proxy that is there, and what comes from the user.

Made by the broker, read by the worker. Pure. The proxy's code is no part of it and came before (`carried`).
"""

import marshal
import zlib

from roujiamo.errors import UsageError
from roujiamo.protocol.frames import MAX_PAYLOAD
from roujiamo.protocol.handshake import SECRET_SIZE

MYPY = False
if MYPY:
    from collections.abc import Mapping

# How far the proxy unpacks.
MAX_UNPACKED = 1 << 26


class Welcome:
    """A welcome as the worker reads it: `environment`, `settings` and `prefix` as they were given, and `resume`."""

    __slots__ = ("environment", "prefix", "resume", "settings")

    def __init__(self, payload: bytes) -> None:
        """`payload`: what `build_welcome` returned, and behind it the host's resume credential."""
        unpacker = zlib.decompressobj()
        # Any Python 3 reads this form, and has it built in; `json` takes 8 ms to load. It comes from the broker, as
        # this code does.
        self.environment, self.settings, self.prefix = marshal.loads(
            unpacker.decompress(payload, MAX_UNPACKED)
        )
        self.resume = unpacker.unused_data


def build_welcome(
    environment: "Mapping[str, str]",
    settings: "Mapping[str, object]",
    prefix: "str | None" = None,
) -> bytes:
    """Return what the WELCOME frames of all hosts begin with; behind it stands each host's resume credential.

    `environment`: what the user wants remote commands to have. `settings`: see `roujiamo.proxy.settings`; numbers and
    truths. `prefix`: the folder with the bin and lib of the MPI that remote commands find first.

    Raises UsageError where it is more than the wire allows; only the environment can be that large.
    """
    content = marshal.dumps((dict(environment), dict(settings), prefix or ""), 2)
    payload = zlib.compress(content) if len(content) <= MAX_UNPACKED else b""
    if not payload or len(payload) + SECRET_SIZE > MAX_PAYLOAD:
        raise UsageError(
            "the environment for the remote commands has %d bytes, more than a host can be given; pass less of it"
            % sum(len(name) + len(value) for name, value in environment.items())
        )
    return payload
