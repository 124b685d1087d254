"""Which network a launcher is told to use, from what the call-backs have shown."""

import pytest

from roujiamo.errors import UsageError
from roujiamo.session.network import NOTHING, Choice, Interface, choose, parse_callback, wanted

HERE = [
    Interface("lo", "127.0.0.1", 8),
    Interface("eth0", "10.0.3.7", 24),
    Interface("docker0", "172.17.0.1", 16),
]


def test_the_network_of_the_call_backs_is_chosen_and_not_the_bridge() -> None:
    """A bridge of the launch host leads nowhere for the agents."""
    assert choose(HERE, ["10.0.3.7", "10.0.3.7"], ["10.0.3.8", "10.0.3.9"]) == Choice("10.0.3.0/24", "eth0")


def test_for_hosts_behind_a_router_the_network_is_widened() -> None:
    """The launch host's own would leave them out, and of two networks one would be unknown on some machine."""
    assert choose(HERE, ["10.0.3.7"], ["10.0.3.8", "10.9.0.5"]) == Choice("10.0.0.0/12", "eth0")


def test_a_network_that_holds_a_bridge_as_well_is_not_said() -> None:
    """What covers 10.0.3.7 and 192.0.2.5 is everything, bridge included; Hydra's interface is right all the same."""
    assert choose(HERE, ["10.0.3.7"], ["192.0.2.5"]) == Choice(None, "eth0")


def test_on_one_machine_the_loopback_interface_is_enough() -> None:
    """Hydra gives its daemons the machine's name otherwise, which may not resolve (in a container, mostly)."""
    assert choose(HERE, ["127.0.0.1"], ["127.0.0.1", "127.0.0.1"]) == Choice(None, "lo")


def test_where_there_is_loopback_alone_it_is_named() -> None:
    """Open MPI leaves it out by itself, and an offline machine has nothing else."""
    assert choose(HERE[:1], ["127.0.0.1"], ["127.0.0.1"]) == Choice("127.0.0.0/8", "lo")


@pytest.mark.parametrize(
    ("own", "hosts"),
    [
        (["10.0.3.7", "172.17.0.1"], ["10.0.3.8", "172.17.0.2"]),
        (["192.0.2.1"], ["10.0.3.8"]),
        (["fd00::1"], ["fd00::2"]),
        (["10.0.3.7"], [""]),
        (["10.0.3.7"], []),
        ([], []),
    ],
)
def test_nothing_is_said_where_nothing_is_certain(own: list[str], hosts: list[str]) -> None:
    """Two ways, a NAT, IPv6, or no answer: the launcher knows as much as we do."""
    assert choose(HERE, own, hosts) == NOTHING


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("eth0", Choice("10.0.3.0/24", "eth0")),
        ("10.0.0.0/16", Choice("10.0.0.0/16", "eth0")),
        ("172.17.0.9/16", Choice("172.17.0.0/16", "docker0")),
    ],
)
def test_the_user_may_name_an_interface_or_a_network(text: str, choice: Choice) -> None:
    """An interface stands for its network: the hosts may name theirs differently."""
    assert wanted(text, HERE) == choice


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("eth9", "no interface eth9 with an IPv4 address here; there are docker0, eth0, lo"),
        ("192.168.0.0/16", "no interface of this machine has an address in"),
        ("10.0.3.0/24,172.17.0.0/16", "Only one '/' permitted"),
        ("10.0.0/99", "Expected 4 octets"),
    ],
)
def test_an_interface_that_is_not_there_is_refused(text: str, words: str) -> None:
    """And those that are there are named."""
    with pytest.raises(ValueError, match=words):
        wanted(text, HERE)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", ("", 0)),
        ("10.0.3.7", ("10.0.3.7", 0)),
        ("gate.example:7000", ("gate.example", 7000)),
        ("fd00::7", ("fd00::7", 0)),
        ("[fd00::7]", ("fd00::7", 0)),
        ("[fd00::7]:7000", ("fd00::7", 7000)),
    ],
)
def test_where_tasks_call_back_to_may_have_a_port_of_its_own(text: str, meant: tuple[str, int]) -> None:
    """A container's published port, a NAT or a tunnel: not the one that is listened on here."""
    assert parse_callback(text) == meant


@pytest.mark.parametrize(
    "text", [":7000", "a:", "a:b", "a:0", "a:65536", "a:9999999999", "[a", "[a]7", "[]:7", "a,b"]
)
def test_what_is_no_place_to_call_back_to_is_refused(text: str) -> None:
    """Where it is written, not by tasks that never call."""
    with pytest.raises(UsageError, match="is not an address, or an address and a port"):
        parse_callback(text)
