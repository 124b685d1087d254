"""Host names as launchers and users write them, and the numeric aliases that launchers are given.

Pure; used by the broker. A name is whatever somebody typed: nothing is looked up in a name service.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network

from roujiamo.errors import HostUnknown

# Networks that no host of a real network has (RFC 5737 section 3, RFC 2544 appendix C.2.2): a launcher takes such an
# address for a remote host without asking a name server.
_ALIAS_NETWORKS = (
    IPv4Network("198.51.100.0/24"),
    IPv4Network("203.0.113.0/24"),
    IPv4Network("198.18.0.0/15"),
)


def aliases() -> Iterator[str]:
    """Yield numeric aliases, each once."""
    for network in _ALIAS_NETWORKS:
        for address in network.hosts():
            yield str(address)


def is_alias(name: str) -> bool:
    """Tell whether `name` is an address of the alias networks."""
    try:
        return any(IPv4Address(name) in network for network in _ALIAS_NETWORKS)
    except ValueError:
        return False


def find_name(names: Iterable[str], wanted: str) -> str:
    """Return the one of `names` that `wanted` means: the same, or its first label, or with a domain more.

    Case does not matter (RFC 4343). Raises HostUnknown where none or several fit.
    """
    known = list(dict.fromkeys(names))
    folded = wanted.rstrip(".").lower()
    same = [name for name in known if name.lower() == folded]
    if same:
        return same[0]
    short = [name for name in known if _is_same_host(name.lower(), folded)]
    if len(short) == 1:
        return short[0]
    if short:
        raise HostUnknown(f"{wanted} may mean {listing(short)}; name the host in full")
    raise HostUnknown(f"no host {wanted} in this session; its hosts are {listing(known)}")


def _is_same_host(name: str, wanted: str) -> bool:
    """Tell whether one of the two is the other without its domain (Open MPI cuts names unless told not to)."""
    if _is_address(name) or _is_address(wanted):
        return False
    return name.startswith(wanted + ".") or wanted.startswith(name + ".")


def _is_address(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdigit()


def listing(names: Iterable[str], most: int = 8) -> str:
    """Return names for a sentence: `a, b and c`, or `a, b, … and 10 more`."""
    known = list(names)
    if not known:
        return "none"
    if len(known) > most:
        return f"{', '.join(known[: most - 1])} and {len(known) - most + 1} more"
    if len(known) == 1:
        return known[0]
    return f"{', '.join(known[:-1])} and {known[-1]}"
