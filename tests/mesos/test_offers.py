"""An agent as its master describes it, in an offer and in /slaves."""

import pytest

from roujiamo.errors import ProtocolError
from roujiamo.mesos.offers import parse_agent, parse_offer
from roujiamo.mesos.resources import Resources
from roujiamo.session.names import natural_order

OFFER = {
    "id": {"value": "M-O1"},
    "framework_id": {"value": "M-0000"},
    "agent_id": {"value": "M-S1"},
    "hostname": "agent1",
    "url": {"scheme": "http", "address": {"hostname": "agent1", "ip": "127.0.0.1", "port": 5051}},
    "attributes": [
        {"name": "zone", "type": "TEXT", "text": {"value": "a"}},
        {"name": "cores", "type": "SCALAR", "scalar": {"value": 16.0}},
        {
            "name": "racks",
            "type": "RANGES",
            "ranges": {"range": [{"begin": 1, "end": 3}, {"begin": 8, "end": 8}]},
        },
    ],
    "allocation_info": {"role": "hpc"},
    "resources": [
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": 4.0}, "allocation_info": {"role": "hpc"}},
        {"name": "mem", "type": "SCALAR", "scalar": {"value": 2048.0}, "allocation_info": {"role": "hpc"}},
    ],
}
AGENT = {
    "id": "M-S1",
    "hostname": "agent1",
    "active": True,
    "deactivated": False,
    "attributes": {"zone": "a", "cores": 16.0, "racks": "[1-3, 8-8]"},
    "resources": {"cpus": 8.0, "mem": 4096.0, "disk": 10.0, "gpus": 0.0, "ports": "[31000-32000]"},
    "reserved_resources": {"hpc": {"cpus": 2.0}, "ml": {"cpus": 3.0}},
    "unreserved_resources": {"cpus": 3.0, "mem": 4096.0, "disk": 10.0},
    "used_resources": {"cpus": 1.0, "mem": 64.0},
}


def test_an_offer_is_read():
    """The fields are those of the v1 API's OFFERS event."""
    offer = parse_offer(OFFER)
    assert (offer.id, offer.agent_id, offer.hostname, offer.role) == ("M-O1", "M-S1", "agent1", "hpc")
    assert offer.free == Resources(cpus=4, mem=2048)
    assert not offer.has_gpus
    assert not offer.is_in_maintenance


def test_offer_and_agent_give_the_same_attributes():
    """What /slaves says must not contradict what the offers will say: constraints are tried on both."""
    expected = {"zone": ("a",), "cores": (16.0,), "racks": (((1.0, 3.0), (8.0, 8.0)),)}
    assert parse_offer(OFFER).attributes == parse_agent(AGENT).attributes == expected


def test_gpus_and_maintenance_are_seen():
    """Both are reasons to leave an agent to others."""
    gpus = {"name": "gpus", "type": "SCALAR", "scalar": {"value": 2.0}}
    offer = parse_offer(
        {
            **OFFER,
            "resources": [*OFFER["resources"], gpus],
            "unavailability": {"start": {"nanoseconds": 1}, "duration": {"nanoseconds": 2}},
        }
    )
    assert offer.has_gpus
    assert offer.is_in_maintenance


def test_an_agent_is_worth_to_a_role_what_is_unreserved_and_its_own():
    """Only so is "the largest has 5 cpus" true for the one who asks."""
    assert parse_agent(AGENT, ("hpc",)).usable.cpus == 5
    assert parse_agent(AGENT, ("*", "hpc")).usable.cpus == 5
    assert parse_agent(AGENT, ("*",)).usable.cpus == 3
    assert parse_agent(AGENT, ("hpc",)).total.cpus == 8
    assert parse_agent({**AGENT, "deactivated": True}).is_active is False


@pytest.mark.parametrize("broken", [{}, {**OFFER, "id": "M-O1"}, {**OFFER, "resources": [{"name": "gpus"}]}])
def test_an_offer_that_cannot_be_read_is_a_protocol_error(broken):
    """Whatever a master sends, it is an error of our tree."""
    with pytest.raises(ProtocolError, match="described an offer"):
        parse_offer(broken)


@pytest.mark.parametrize(
    ("pid", "address"),
    [("slave(1)@10.0.0.7:5051", "10.0.0.7"), ("slave(1)@[fd00::7]:5051", "fd00::7"), ("", "")],
)
def test_an_agents_address_is_where_its_process_listens(pid, address):
    """Users name hosts by address too, whatever hostname the agent gave itself."""
    assert parse_agent({**AGENT, "pid": pid}).address == address
    assert parse_agent(AGENT).address == ""


def test_node2_comes_before_node10():
    """The hostfile's order is the order of ranks, and people expect it by number."""
    assert sorted(["node10", "node2", "node1"], key=natural_order) == ["node1", "node2", "node10"]
