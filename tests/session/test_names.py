"""Host names: whatever a user or a launcher writes finds the one host that it means."""

from itertools import islice

import pytest

from roujiamo.errors import HostUnknown
from roujiamo.session.names import aliases, find_name, is_alias, listing

NAMES = ["agent1.example.org", "agent2.example.org", "agent2.other.org", "10.0.0.7", "Agent9"]


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
    ],
)
def test_short_full_and_upper_case_names_mean_the_same_host(wanted: str, meant: str) -> None:
    """As with ssh and a search domain; case does not matter in host names."""
    assert find_name(NAMES, wanted) == meant


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("agent2", "agent2 may mean agent2.example.org and agent2.other.org; name the host in full"),
        ("agent3", "no host agent3 in this session"),
        ("10.0.0", "no host 10.0.0 in this session"),
        ("agent", "no host agent in this session"),
    ],
)
def test_a_name_that_fits_none_or_several_is_refused_with_the_choices(wanted: str, sentence: str) -> None:
    """A prefix is no name, and part of an address is no address."""
    with pytest.raises(HostUnknown, match=sentence):
        find_name(NAMES, wanted)


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
