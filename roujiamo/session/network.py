"""Which network MPI's connections should take, from what the hosts' call-backs have shown. Pure.

A launcher offers all addresses of its machine to its daemons, those of containers' bridges too, and waits for ever
where the wrong one is picked (open-mpi/ompi issues 6377 and 10926). The call-backs have come over a way that works.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import NamedTuple

from roujiamo.errors import UsageError


class Interface(NamedTuple):
    """One address of the launch host: its interface's name, the address, and the netmask's length in bits."""

    name: str
    address: str
    bits: int


class Choice(NamedTuple):
    """`network`: in CIDR notation. `interface`: the launch host's. None: nothing is to be said.

    One network alone: where a machine has no address in one of several, prterun dies of a segmentation fault (5.0.11),
    and Open MPI 4 takes all of its interfaces.
    """

    network: str | None
    interface: str | None


NOTHING = Choice(None, None)


def parse_callback(text: str) -> tuple[str, int]:
    """Return (address, port) of `ADDRESS[:PORT]`; port 0 where none is given. An IPv6 address may be in brackets.

    A NAT, a container's published port or a tunnel may have a port of its own. Raises UsageError.
    """
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        colon, port = rest[:1], rest[1:]
        is_whole = bool(bracket) and colon in ("", ":")
    elif text.count(":") > 1:
        address, colon, port, is_whole = text, "", "", True
    else:
        address, colon, port = text.partition(":")
        is_whole = True
    has_port = port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535
    if not is_whole or "," in text or (text and not address) or (colon and not has_port):
        raise UsageError(f"{text!r} is not an address, or an address and a port as ADDRESS:PORT")
    return address, int(port) if colon else 0


def choose(interfaces: Iterable[Interface], own: Iterable[str], hosts: Sequence[str]) -> Choice:
    """Return what to tell a launcher.

    `own`: the launch host's addresses to which the hosts have called back. `hosts`: the hosts' own. Nothing is said
    where the hosts came to several addresses, where an address is not IPv4, or where the launch host's is on no
    interface of its own (a NAT). Where all is one machine only its loopback interface is: Hydra tells its daemons the
    launch host's name otherwise, which may mean nothing. Open MPI leaves loopback out of its own accord; it is told to
    use it where the machine has nothing else (offline).
    """
    addresses = set(own)
    if len(addresses) != 1 or not hosts:
        return NOTHING
    (address,) = addresses
    if not all(_is_ipv4(each) for each in (address, *hosts)):
        return NOTHING
    known = list(interfaces)
    for interface in known:
        if interface.address == address:
            if ip_address(address).is_loopback:
                return Choice(
                    None if _has_other(interface, known) else str(_network_of(interface)), interface.name
                )
            return Choice(_common_network(interface, known, hosts), interface.name)
    return NOTHING


def _has_other(loopback: Interface, interfaces: Iterable[Interface]) -> bool:
    return any(each.name != loopback.name and _is_ipv4(each.address) for each in interfaces)


def _common_network(chosen: Interface, interfaces: Sequence[Interface], hosts: Iterable[str]) -> str | None:
    """Return the network of `chosen`, wide enough for all hosts; None where other interfaces would lie in it too."""
    own = network = _network_of(chosen)
    for host in hosts:
        while IPv4Address(host) not in network:
            network = network.supernet()
    others = [each for each in interfaces if each.name != chosen.name and _is_ipv4(each.address)]
    if network != own and any(IPv4Address(each.address) in network for each in others):
        return None
    return str(network)


def wanted(text: str, interfaces: Iterable[Interface]) -> Choice:
    """Return what `--interface` says: an interface's name, or a network in CIDR notation.

    Raises ValueError where it is neither, or no interface of the launch host fits.
    """
    known = [each for each in interfaces if _is_ipv4(each.address)]
    if "/" not in text:
        for each in known:
            if each.name == text:
                # The hosts may name theirs differently.
                return Choice(str(_network_of(each)), text)
        names = ", ".join(sorted({each.name for each in known}))
        raise ValueError(f"there is no interface {text} with an IPv4 address here; there are {names}")
    network = IPv4Network(text, strict=False)
    for each in known:
        if IPv4Address(each.address) in network:
            return Choice(str(network), each.name)
    raise ValueError(f"no interface of this machine has an address in {text}")


def _network_of(interface: Interface) -> IPv4Network:
    return IPv4Network(f"{interface.address}/{interface.bits}", strict=False)


def _is_ipv4(text: str) -> bool:
    try:
        return ip_address(text).version == 4
    except ValueError:
        return False
