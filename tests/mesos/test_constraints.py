"""Constraints: the user's text, and which agents it lets through."""

import pytest

from roujiamo.errors import UsageError
from roujiamo.mesos.constraints import Matcher, parse_constraint

ATTRIBUTES = {
    "zone": ("a",),
    "cores": (16.0,),
    "rack": ("r1",),
    "racks": (((1.0, 3.0), (8.0, 8.0)),),
    "os": ("a", "b"),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("zone==a", True),
        ("zone=a", True),
        (" zone == a ", True),
        ("zone==b", False),
        ("zone!=a", False),
        ("zone!=b", True),
        ("rack~r[12]", True),
        ("rack~r", False),
        ("rack!~r[12]", False),
        ("rack!~r", True),
        ("cores==16", True),
        ("cores==16.0", True),
        ("cores!=16", False),
        ("cores>=16", True),
        ("cores>16", False),
        ("cores<17", True),
        ("cores<=15.5", False),
        ("cores~1.", True),
        ("zone>1", False),
        ("racks==2", True),
        ("racks==8", True),
        ("racks==5", False),
        ("racks>7", True),
        ("os==b", True),
        ("os!=b", False),
        ("hostname==node1", True),
        ("host==NODE1.example.org", True),
        ("hostname!=node1", False),
        ("host~node[0-9].*", True),
        ("missing==a", False),
        ("missing~.*", False),
        ("missing>0", False),
        ("missing!=a", True),
        ("missing!~a", True),
    ],
)
def test_each_form(text, expected):
    """One row is one rule; an agent without the attribute passes only the negative forms."""
    assert parse_constraint(text).is_met_by("node1.example.org", ATTRIBUTES) is expected
    assert (
        Matcher([parse_constraint(text)]).first_unmet("node1.example.org", ATTRIBUTES) is None
    ) is expected


@pytest.mark.parametrize("text", ["", "zone", "==a", "zone==", "zone a", "rack~r[", "cores>=many", "!zone"])
def test_a_bad_constraint_is_named(text):
    """The user has perhaps given ten of them."""
    with pytest.raises(UsageError) as raised:
        parse_constraint(text)
    assert repr(text) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_matcher_names_the_constraint_that_fails():
    """It is asked for many agents, and answers from memory for values seen before."""
    matcher = Matcher(
        [parse_constraint("zone==a"), parse_constraint("zone!=c"), parse_constraint("host!=node7")]
    )
    for _ in range(2):
        assert matcher.first_unmet("node1", {"zone": ("a",)}) is None
        assert matcher.first_unmet("node1", {"zone": ("b",)}).text == "zone==a"
        assert matcher.first_unmet("node1", {}).text == "zone==a"
        assert matcher.first_unmet("node7", {"zone": ("a",)}).text == "host!=node7"
