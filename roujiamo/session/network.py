"""Which network MPI's connections should take, from what the hosts' call-backs have shown. Pure.

A launcher offers all addresses of its machine to its daemons, those of containers' bridges too, and waits for ever
where the wrong one is picked (open-mpi/ompi issues 6377 and 10926). The call-backs have come over a way that works.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import NamedTuple

# Hosts of other networks than the launch host's are named one by one; a longer list helps no launcher.
MAX_LISTED = 32


class Interface(NamedTuple):
    """One address of the launch host: its interface's name, the address, and the netmask's length in bits."""

    name: str
    address: str
    bits: int


class Choice(NamedTuple):
    """`network`: networks in CIDR notation with commas. `interface`: the launch host's. None: nothing is to be said."""

    network: str | None
    interface: str | None


NOTHING = Choice(None, None)


def choose(interfaces: Iterable[Interface], own: Iterable[str], hosts: Sequence[str]) -> Choice:
    """Return what to tell a launcher.

    `own`: the launch host's addresses to which the hosts have called back. `hosts`: the hosts' own. Nothing is said
    where the hosts came to several addresses, where an address is not IPv4, or where the launch host's is on no
    interface of its own (a NAT). Where all is one machine only its loopback interface is: Hydra tells its daemons the
    launch host's name otherwise, which may mean nothing.
    """
    addresses = set(own)
    if len(addresses) != 1 or not hosts:
        return NOTHING
    (address,) = addresses
    if not all(_is_ipv4(each) for each in (address, *hosts)):
        return NOTHING
    for interface in interfaces:
        if interface.address == address:
            if ip_address(address).is_loopback:
                return Choice(None, interface.name)
            network = IPv4Network(f"{address}/{interface.bits}", strict=False)
            others = sorted({each for each in hosts if IPv4Address(each) not in network})
            if len(others) > MAX_LISTED:
                return Choice(None, interface.name)
            listed = [str(network), *(f"{each}/32" for each in others)]
            return Choice(",".join(listed), interface.name)
    return NOTHING


def wanted(text: str, interfaces: Iterable[Interface]) -> Choice:
    """Return what `--interface` says: an interface's name, or networks in CIDR notation with commas.

    Raises ValueError where it is neither, or no interface of the launch host fits.
    """
    known = list(interfaces)
    if "/" not in text:
        if text not in {each.name for each in known}:
            names = ", ".join(sorted({each.name for each in known}))
            raise ValueError(f"there is no interface {text} here; there are {names}")
        return Choice(text, text)
    networks = [IPv4Network(part, strict=False) for part in text.split(",")]
    for each in known:
        if _is_ipv4(each.address) and any(IPv4Address(each.address) in network for network in networks):
            return Choice(text, each.name)
    raise ValueError(f"no interface of this machine has an address in {text}")


def _is_ipv4(text: str) -> bool:
    try:
        return ip_address(text).version == 4
    except ValueError:
        return False
