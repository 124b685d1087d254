"""Host names as users, launchers and Mesos write them, and the numeric aliases that launchers are given.

Pure; used by the broker and by the allocator. The one rule of what a name means:

- case and a final dot do not matter (RFC 4343);
- a name is also called by its first labels: `node1` and `node1.rack2` mean node1.rack2.example.org. It works the other
  way round as well, since launchers cut names at a dot or put the search domain behind them;
- an address is never cut at its dots;
- the same name goes before a shorter or longer one, and where several hosts are meant none is.

A name is whatever somebody typed: nothing is looked up in a name service.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Generic, NamedTuple, TypeVar

from roujiamo.errors import HostUnknown

# Networks that no host of a real network has (RFC 5737 section 3, RFC 2544 appendix C.2.2): a launcher takes such an
# address for a remote host without asking a name server.
_ALIAS_NETWORKS = (
    IPv4Network("198.51.100.0/24"),
    IPv4Network("203.0.113.0/24"),
    IPv4Network("198.18.0.0/15"),
)
_ADDRESS = re.compile(r"[\d.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*")

Key = TypeVar("Key", bound=Hashable)


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


def is_named(hostname: str, name: str) -> bool:
    """Tell whether who says `name` may mean the host `hostname`."""
    hostname, name = normal(hostname), normal(name)
    if hostname == name:
        return True
    if _is_address(hostname) or _is_address(name):
        return False
    return hostname.startswith(name + ".") or name.startswith(hostname + ".")


def normal(name: str) -> str:
    """Return the one form of a name in any case, with or without its final dot."""
    return name.lower().rstrip(".")


def _is_address(name: str) -> bool:
    return _ADDRESS.fullmatch(name) is not None


def _first_label(name: str) -> str:
    """Return what two names that may mean each other have in common; `name` is in its normal form."""
    return name if _is_address(name) else name.partition(".")[0]


class HostNames:
    """A set of names that users gave to hosts; finding one does not look at those that cannot be meant."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._by_label: dict[str, dict[str, list[str]]] = {}
        for name in names:
            self.add(name)

    def add(self, name: str) -> None:
        """Put `name` into the set."""
        key = normal(name)
        self._by_label.setdefault(_first_label(key), {}).setdefault(key, []).append(name)

    def remove(self, name: str) -> None:
        """Take `name` out of the set again."""
        key = normal(name)
        label = _first_label(key)
        spellings = self._by_label[label][key]
        spellings.remove(name)
        if not spellings:
            del self._by_label[label][key]
            if not self._by_label[label]:
                del self._by_label[label]

    def find(self, hostname: str) -> str | None:
        """Return a name in the set by which the host `hostname` may be meant, the same one first, or None."""
        if not self._by_label:
            return None
        key = normal(hostname)
        names = self._by_label.get(_first_label(key))
        if names is None:
            return None
        if key in names:
            return names[key][0]
        return next((spellings[0] for name, spellings in names.items() if is_named(key, name)), None)


class HostName(NamedTuple):
    """What one host is called: its name, which others may share, and what is its alone (alias, address, agent id)."""

    hostname: str
    own: tuple[str, ...] = ()


class HostIndex(Generic[Key]):
    """Finds the one host that a name means, among as many as there are, without a look at each."""

    def __init__(self, hosts: Mapping[Key, HostName], what: str = "host") -> None:
        """`what` the hosts are is for the sentences of errors."""
        self._hosts = hosts
        self._what = what
        self._same: dict[str, list[Key]] = {}
        self._own: dict[str, list[Key]] = {}
        self._labels: dict[str, list[Key]] = {}
        for key, name in hosts.items():
            hostname = normal(name.hostname)
            self._same.setdefault(hostname, []).append(key)
            self._labels.setdefault(_first_label(hostname), []).append(key)
            for each in name.own:
                self._own.setdefault(normal(each), []).append(key)

    def find(self, wanted: str) -> Key:
        """Return the key of the host that `wanted` means.

        Raises HostUnknown where none or several fit; its sentence says what to write.
        """
        name = normal(wanted)
        found = self._same.get(name) or self._own.get(name)
        if not found:
            related = self._labels.get(_first_label(name), ())
            found = [key for key in related if is_named(self._hosts[key].hostname, name)]
        if len(found) == 1:
            return found[0]
        if not found:
            known = listing(sorted({each.hostname for each in self._hosts.values()}, key=natural_order))
            raise HostUnknown(f"there is no {self._what} called {wanted}; the {self._what}s are {known}")
        several = [self._hosts[key] for key in found]
        if len({normal(each.hostname) for each in several}) == len(several):
            choices = listing(sorted((each.hostname for each in several), key=natural_order), word="or")
            raise HostUnknown(f"{wanted} may mean {choices}; name the {self._what} in full")
        choices = listing((each.own[0] if each.own else each.hostname for each in several), word="or")
        raise HostUnknown(f"{len(several)} {self._what}s are called {wanted}; write {choices} instead")


def natural_order(hostname: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key that puts node2 before node10."""
    return tuple(
        (0, int(piece), "") if piece.isdecimal() else (1, 0, piece)
        for piece in re.split(r"(\d+)", hostname)
        if piece
    )


def listing(names: Iterable[str], most: int = 8, word: str = "and") -> str:
    """Return names for a sentence: `a, b and c`, or `a, b, … and 10 more`."""
    known = list(names)
    if not known:
        return "none"
    if len(known) > most:
        return f"{', '.join(known[: most - 1])} {word} {len(known) - most + 1} more"
    if len(known) == 1:
        return known[0]
    return f"{', '.join(known[:-1])} {word} {known[-1]}"
