"""Where a master is: the forms in which users name one, and the check that something listens there.

Runs in the driver, in a thread that may block. A name is resolved here and not in pymesos's I/O thread, which it would
end without a word; pymesos gets numbers. Which of several masters leads needs no asking: one that does not answers
SUBSCRIBE with a redirect to the one that does, which also holds where a proxy stands in front of the master.

    HOST[:PORT]   http://HOST:PORT   HOST:PORT,HOST:PORT,...   zk://[USER:PASSWORD@]HOST:PORT,.../PATH
"""

from __future__ import annotations

import socket
import time
from typing import NamedTuple

from roujiamo.errors import UsageError
from roujiamo.pymesos_driver.trouble import UNREACHABLE, MasterTrouble
from roujiamo.system.resolver import resolvable

# Mesos's and ZooKeeper's own defaults.
DEFAULT_PORT = 5050
ZOOKEEPER_PORT = 2181
MAX_ADDRESSES = 32


class Address(NamedTuple):
    """A host, by name or number, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class ZooKeeper(NamedTuple):
    """A ZooKeeper ensemble and the path under which the masters register; `digest` is "user:password" or empty."""

    addresses: tuple[Address, ...]
    path: str
    digest: str

    def __str__(self) -> str:
        return f"zk://{','.join(map(str, self.addresses))}{self.path}"


def parse_master(text: str) -> tuple[Address, ...] | ZooKeeper:
    """Return what `text` names.

    Raises UsageError where it is none of the forms.
    """
    text = text.strip()
    scheme, separator, rest = text.partition("://")
    # The scheme of the first address; each may have its own.
    scheme = scheme.lower() if separator and "," not in scheme else "http"
    if scheme in ("zk", "zoo"):
        return _parse_zookeeper(rest)
    if scheme == "https":
        raise UsageError(
            f"master {text!r}: pymesos speaks plain HTTP only; name the master's http:// address"
        )
    if scheme != "http":
        raise UsageError(
            f"master {text!r}: use HOST:PORT, several of them with commas, or zk://HOST:PORT/PATH"
        )
    return _parse_addresses(text, text, DEFAULT_PORT)


def _parse_addresses(text: str, whole: str, default_port: int) -> tuple[Address, ...]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > MAX_ADDRESSES:
        raise UsageError(f"master {whole[:80]!r}...: more than {MAX_ADDRESSES} addresses")
    return tuple(parse_address(part, whole, default_port) for part in parts)


def parse_address(text: str, whole: str = "", default_port: int = DEFAULT_PORT) -> Address:
    """Return one HOST[:PORT], `http://` before it and a slash behind it allowed.

    Raises UsageError, which quotes `whole`.
    """
    whole = whole or text
    if text.lower().startswith("http://"):
        text = text[len("http://") :]
    # A redirect's location is "//host:port", with a path or without.
    text = text.removeprefix("//").partition("/")[0]
    if "@" in whole:
        # Not quoted: what stands before it may be a password.
        raise UsageError(
            "the master's address has a user in it; credentials belong to the principal's options"
        )
    if text.startswith("[") or text.count(":") > 1:
        raise UsageError(
            f"master {whole!r}: pymesos knows no IPv6; name the master's IPv4 address or host name"
        )
    host, colon, port = text.partition(":")
    if not host or any(c.isspace() or not c.isprintable() for c in host):
        raise UsageError(f"master {whole!r}: there is no host name in it; use HOST:PORT")
    if not colon:
        return Address(host, default_port)
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise UsageError(f"master {whole!r}: {port!r} is not a port; use HOST:PORT")
    return Address(host, int(port))


def _parse_zookeeper(rest: str) -> ZooKeeper:
    servers, _, path = rest.partition("/")
    digest, _, servers = servers.rpartition("@")
    # What could be a password is not quoted.
    shown = f"zk://{servers}/{path}"
    path = "/" + path.strip("/")
    if path == "/":
        raise UsageError(f"master {shown!r}: the path is missing; Mesos's is usually zk://HOST:PORT/mesos")
    return ZooKeeper(_parse_addresses(servers, shown, ZOOKEEPER_PORT), path, digest)


def reach(address: Address, seconds: float, what: str = "master") -> str:
    """Return "ip:port" of something that accepts connections at `address`; `what` it is called in an error.

    Raises MasterTrouble; it is fatal where the name does not exist, which no waiting mends.
    """
    deadline = time.monotonic() + seconds
    try:
        host = resolvable(address.host)
        found = socket.getaddrinfo(host, address.port, socket.AF_INET, socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        is_final = isinstance(error, UnicodeError) or error.errno == socket.EAI_NONAME
        reason = "no such name" if is_final else str(error.args[-1]).lower()
        sentence = f"the {what}'s host {address.host!r} cannot be resolved to IPv4 ({reason}): check the name"
        raise MasterTrouble(UNREACHABLE, sentence, is_fatal=is_final) from error
    reason = "no address"
    for *_, target in found:
        number = str(target[0])
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.settimeout(max(deadline - time.monotonic(), 0.1))
                probe.connect(target)
                return f"{number}:{address.port}"
        except TimeoutError:
            reason = "no answer"
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
    sentence = f"no {what} can be reached at {address} ({reason}): check the address, and that it runs"
    raise MasterTrouble(UNREACHABLE, sentence)
