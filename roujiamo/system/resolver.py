"""Host names on their way to the system's resolver.

Layer 2; used by whoever looks a name up or connects to one.
"""

from __future__ import annotations


def resolvable(host: str) -> str | bytes:
    """Return a host's name or address in the form for getaddrinfo(3): in bytes, unless it is an international one.

    For a text, of ASCII too, Python loads its codec for international names: 1.7 ms of CPU, and three of our programs
    look something up before the first rank runs.
    """
    return host.encode() if host.isascii() else host
