"""Calls that wait for a subscription."""

from roujiamo.driver.lines import Request
from roujiamo.driver.pending import MAX_PENDING, PendingCalls

REVIVE, SUPPRESS = Request("revive", "REVIVE", None), Request("suppress", "SUPPRESS", None)


def kill(task_id: str) -> Request:
    """A KILL."""
    return Request("kill", "KILL", {"task_id": {"value": task_id}})


def test_each_is_made_once_in_order_and_then_forgotten() -> None:
    """A KILL that is asked for again and again is one KILL."""
    pending = PendingCalls()
    assert all(map(pending.add, [kill("a"), kill("b"), kill("a")]))
    assert pending.take_all(is_suppressed=False) == [kill("a"), kill("b")]
    assert pending.take_all(is_suppressed=False) == []


def test_the_last_of_revive_and_suppress_counts() -> None:
    """They say how things should be, not what should happen."""
    pending = PendingCalls()
    for request in (SUPPRESS, REVIVE, SUPPRESS, kill("a")):
        pending.add(request)
    assert pending.take_all(is_suppressed=True) == [SUPPRESS, kill("a")]
    assert pending.take_all(is_suppressed=True) == [SUPPRESS]
    pending.add(REVIVE)
    assert pending.take_all(is_suppressed=False) == [REVIVE]


def test_there_is_a_bound_and_passing_it_is_said() -> None:
    """A master may be away for long."""
    pending = PendingCalls()
    assert all(pending.add(kill(str(n))) for n in range(MAX_PENDING))
    assert not pending.add(kill("one more"))
    assert pending.add(kill("0"))
    assert pending.add(SUPPRESS)
