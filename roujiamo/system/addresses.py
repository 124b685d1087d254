"""Which address of this machine others reach, and how it is told to them.

Layer 2; used by the broker, which listens for call-backs, and by who shows where they would go.
"""

from __future__ import annotations

import ipaddress
import socket

from roujiamo.errors import RoujiamoError
from roujiamo.system.resolver import resolvable


def address_towards(peer: str) -> str:
    """Return the local address from which packets to `peer` (an IP address or a name) would leave.

    Nothing is sent: connecting a datagram socket only asks the routing table (udp(7)). Raises RoujiamoError.
    """
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(resolvable(peer), 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(target)
            return str(probe.getsockname()[0])
    except OSError as error:
        raise RoujiamoError(
            f"no route to {peer} to tell the tasks where to call back: {error}; give --callback-address"
        ) from error


def listening_address(advertised: str) -> str:
    """Return the address to listen on when tasks are told `advertised`: loopback stays loopback, else all of a family.

    An advertised address may be one that only a NAT or another interface has, so it is not bound itself.
    """
    try:
        address = ipaddress.ip_address(advertised)
    except ValueError:
        return "0.0.0.0"  # noqa: S104 - who connects must prove the session's secret
    if address.is_loopback:
        return advertised
    return "::" if address.version == 6 else "0.0.0.0"  # noqa: S104 - the same


def callback_target(address: str, port: int) -> str:
    """Return `address:port` as a task is told it; an IPv6 address in brackets (RFC 3986 section 3.2.2)."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
