"""Host names: whatever a user or a launcher writes finds the one host that it means."""

from itertools import islice

import pytest

from roujiamo.errors import HostUnknown
from roujiamo.session.names import HostIndex, HostName, HostNames, aliases, is_alias, is_named, listing

HOSTS = {
    name: HostName(name)
    for name in [
        "agent1.example.org",
        "agent2.example.org",
        "agent2.other.org",
        "10.0.0.7",
        "Agent9",
        "fd00::7",
    ]
}
TWINS = {
    "S0": HostName("rack1", ("198.51.100.1", "ab12-S0")),
    "S1": HostName("RACK1", ("198.51.100.2", "ab12-S1")),
    "S2": HostName("rack2", ("198.51.100.3", "ab12-S2")),
}


@pytest.mark.parametrize(
    ("hostname", "name", "expected"),
    [
        ("node1.example.org", "node1", True),
        ("node1.example.org", "node1.example", True),
        ("node1", "NODE1.example.org.", True),
        ("node1.example.org", "node1.example.org", True),
        ("node1.example.org", "node1.example.com", False),
        ("node10", "node1", False),
        ("10.0.0.1", "10", False),
        ("10", "10.0.0.1", False),
        ("fd00::1", "fd00::1", True),
        ("FD00::1", "fd00::1", True),
    ],
)
def test_names_match_as_with_ssh_and_a_search_domain(hostname: str, name: str, expected: bool) -> None:
    """Short and qualified names both work; an address is never cut at its dots."""
    assert is_named(hostname, name) is expected
    assert (HostNames([name]).find(hostname) is not None) is expected


def test_a_set_of_names_prefers_the_same_one_and_forgets_what_is_removed() -> None:
    """`agent1` and `agent1.example.org` may be two agents."""
    names = HostNames(["agent1", "Agent1.example.org", "agent2"])
    assert names.find("agent1.example.org") == "Agent1.example.org"
    assert names.find("agent1") == "agent1"
    names.remove("Agent1.example.org")
    assert names.find("agent1.example.org") == "agent1"
    names.remove("agent1")
    assert names.find("agent1") is None
    assert names.find("agent2.example.org") == "agent2"


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ("agent1.example.org", "agent1.example.org"),
        ("AGENT1.example.ORG.", "agent1.example.org"),
        ("agent1", "agent1.example.org"),
        ("agent2.other", "agent2.other.org"),
        ("agent9", "Agent9"),
        ("agent9.example.org", "Agent9"),
        ("10.0.0.7", "10.0.0.7"),
        ("FD00::7", "fd00::7"),
    ],
)
def test_short_full_and_upper_case_names_mean_the_same_host(wanted: str, meant: str) -> None:
    """As with ssh and a search domain; case does not matter in host names."""
    assert HostIndex(HOSTS).find(wanted) == meant


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("agent2", "agent2 may mean agent2.example.org or agent2.other.org; name the host in full"),
        ("agent3", "there is no host called agent3; the hosts are 10.0.0.7, Agent9, agent1.example.org, "),
        ("10.0.0", "there is no host called 10.0.0"),
        ("agent", "there is no host called agent;"),
    ],
)
def test_a_name_that_fits_none_or_several_is_refused_with_the_choices(wanted: str, sentence: str) -> None:
    """A prefix is no name, and part of an address is no address."""
    with pytest.raises(HostUnknown, match=sentence):
        HostIndex(HOSTS).find(wanted)


def test_hosts_that_share_a_name_are_reached_by_what_is_theirs_alone() -> None:
    """Several agents on one machine; to take the first would run two hosts' commands on one of them."""
    assert [HostIndex(TWINS).find(wanted) for wanted in ("198.51.100.1", "AB12-S1", "rack2")] == [
        "S0",
        "S1",
        "S2",
    ]
    with pytest.raises(
        HostUnknown, match=r"2 agents .* rack1; write 198\.51\.100\.1 or 198\.51\.100\.2 instead"
    ):
        HostIndex(TWINS, "agent").find("rack1")
    with pytest.raises(HostUnknown, match=r"2 hosts are called rack1\.example\.org; write 198"):
        HostIndex(TWINS).find("rack1.example.org")


def test_aliases_are_numeric_and_each_is_given_once() -> None:
    """Ten thousand hosts get ten thousand addresses that no network has."""
    given = list(islice(aliases(), 10_000))
    assert len(set(given)) == 10_000
    assert all(map(is_alias, given))
    assert not is_alias("10.0.0.7")
    assert not is_alias("agent1")


def test_a_listing_reads_as_a_sentence_however_long() -> None:
    """An error about one name does not print ten thousand."""
    assert listing([]) == "none"
    assert listing(["a"]) == "a"
    assert listing(["a", "b", "c"]) == "a, b and c"
    assert listing([str(n) for n in range(20)]) == "0, 1, 2, 3, 4, 5, 6 and 13 more"
