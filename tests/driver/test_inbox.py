"""The inbox: bounded for events, open for answers, in order."""

import os
import select
import threading
from collections.abc import Iterator

import pytest

from roujiamo.driver.inbox import Inbox
from tests.support import scaled, until


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    """One that holds 100 bytes."""
    made = Inbox(limit=100)
    yield made
    made.release()
    os.close(made.fileno())
    os.close(made.wake_write)


def take_all(inbox: Inbox, with_events: bool = True) -> None:
    """Do all the work there is."""
    while work := inbox.take(with_events):
        work()


def test_events_keep_their_order_and_answers_go_first(inbox: Inbox) -> None:
    """A teardown's answer must not wait behind events that nobody reads."""
    done: list[str] = []
    inbox.put(lambda: done.append("first"), 1)
    inbox.put(lambda: done.append("second"), 1)
    inbox.put_now(lambda: done.append("answer"))
    take_all(inbox, with_events=False)
    assert done == ["answer"]
    take_all(inbox)
    assert done == ["answer", "first", "second"]


def test_it_wakes_a_poll(inbox: Inbox) -> None:
    """The main thread waits in poll and nowhere else."""
    poll = select.poll()
    poll.register(inbox, select.POLLIN)
    assert not poll.poll(0)
    inbox.put(lambda: None, 1)
    assert poll.poll(0)
    inbox.clear_wake()
    assert not poll.poll(0)


def test_a_full_inbox_makes_the_next_event_wait(inbox: Inbox) -> None:
    """What the broker does not read stays with the master: TCP does the rest."""
    done: list[int] = []
    inbox.put(lambda: done.append(0), 1_000_000)
    thread = threading.Thread(target=lambda: [inbox.put(lambda n=n: done.append(n), 60) for n in range(1, 6)])  # type: ignore[misc]
    thread.start()
    assert inbox.is_full
    take_all(inbox)
    until(lambda: (take_all(inbox), len(done) == 6)[1], what="all events to come through")
    thread.join(scaled(10))
    assert done == [0, 1, 2, 3, 4, 5]


def test_release_lets_a_waiting_thread_go(inbox: Inbox) -> None:
    """The I/O thread must not hold the process back at its end."""
    inbox.put(lambda: None, 1000)
    thread = threading.Thread(target=inbox.put, args=(lambda: None, 1))
    thread.start()
    inbox.release()
    thread.join(scaled(10))
    assert not thread.is_alive()
