"""Resources add, subtract and compare exactly."""

from __future__ import annotations

from roujiamo.mesos.master.quantities import Quantities, from_json, number_text, thousandths, total

AGENT = Quantities({"cpus": 4000, "mem": 4_096_000, "ports": ((31000, 32000),)})


def scalar(name: str, value: float) -> dict[str, object]:
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}}


def ports(*ranges: tuple[int, int]) -> dict[str, object]:
    found = [{"begin": begin, "end": end} for begin, end in ranges]
    return {"name": "ports", "type": "RANGES", "ranges": {"range": found}}


def test_tenths_of_cpus_come_back_whole() -> None:
    """Ten tenths taken and given back one by one leave exactly what was there: no drift, as in Mesos."""
    left = AGENT
    tenth = from_json([scalar("cpus", 0.1)])
    for _ in range(40):
        left = left - tenth
    assert left.scalar("cpus") == 0
    assert total([left, *[tenth] * 40]) == AGENT


def test_ports_are_cut_out_and_put_back() -> None:
    taken = from_json([ports((31001, 31003), (31999, 32000))])
    left = AGENT - taken
    assert dict(left)["ports"] == ((31000, 31000), (31004, 31998))
    assert left + taken == AGENT


def test_more_than_there_is_is_not_contained() -> None:
    assert AGENT.contains(from_json([scalar("cpus", 4), ports((31000, 31010))]))
    assert not AGENT.contains(from_json([scalar("cpus", 4.001)]))
    assert not AGENT.contains(from_json([ports((30999, 31010))]))
    assert not AGENT.contains(from_json([scalar("gpus", 1)]))


def test_a_reserved_resource_is_not_an_unreserved_one() -> None:
    assert not AGENT.contains(from_json([{**scalar("cpus", 1), "role": "hpc"}]))


def test_a_number_is_never_taken_from_ranges() -> None:
    assert not AGENT.contains(from_json([scalar("ports", 1)]))
    assert not AGENT.contains(from_json([{**ports((1, 2)), "name": "cpus"}]))


def test_text_is_what_a_master_prints() -> None:
    quantities = from_json([scalar("cpus", 1.5), ports((1, 2))])
    assert quantities.text("*") == "cpus(allocated: *):1.5; ports(allocated: *):[1-2]"
    assert number_text(thousandths(400)) == "400"
    assert thousandths(0.0015) == 2


def test_less_of_both_than_the_minimum_is_not_offered() -> None:
    assert from_json([scalar("cpus", 0.01)]).is_allocatable
    assert from_json([scalar("mem", 32)]).is_allocatable
    assert not from_json([scalar("cpus", 0.009), scalar("mem", 31)]).is_allocatable
