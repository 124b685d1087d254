"""The selector: who is called, with what, and who is not called any more."""

from __future__ import annotations

import socket

import pytest

from roujiamo.system import selector
from roujiamo.system.selector import READ, WRITE, Selector


def test_an_action_is_called_with_what_its_descriptor_is_ready_for() -> None:
    """And with no more than it asked for."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        masks: list[int] = []
        watching = Selector()
        watching.register(ours, READ | WRITE, masks.append)
        watching.serve(1)
        theirs.send(b"x")
        watching.serve(1)
        watching.modify(ours, READ, masks.append)
        watching.serve(1)
        watching.unregister(ours)
        watching.serve(0)
    assert masks == [WRITE, READ | WRITE, READ]


def test_the_other_ends_close_is_told_to_who_reads_and_to_who_writes() -> None:
    """epoll(7) reports it as neither, and whoever waits would wait for ever."""
    for events in (READ, WRITE):
        ours, theirs = socket.socketpair()
        with ours:
            theirs.close()
            masks: list[int] = []
            watching = Selector()
            watching.register(ours, events, masks.append)
            watching.serve(1)
            watching.unregister(ours)
        assert masks == [events]


def test_what_was_closed_or_changed_in_this_round_is_not_served_any_more() -> None:
    """Not even where another connection has got its number meanwhile."""
    pairs = [socket.socketpair() for _ in range(2)]
    watching = Selector()
    called: list[str] = []

    def replace_all(mask: int) -> None:
        called.append("first")
        for ours, _ in pairs:
            watching.unregister(ours)
            watching.register(ours, READ, lambda mask: called.append("new"))

    for ours, theirs in pairs:
        watching.register(ours, READ, replace_all)
        theirs.send(b"x")
    watching.serve(1)
    assert called == ["first"]
    watching.serve(1)
    assert called == ["first", "new", "new"]
    for pair in pairs:
        for end in pair:
            end.close()


def test_the_rest_of_many_comes_in_the_next_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others share the loop; and what is ready stays ready."""
    monkeypatch.setattr(selector, "MAX_EVENTS", 2)
    pairs = [socket.socketpair() for _ in range(5)]
    watching = Selector()
    served: list[int] = []
    for number, (ours, theirs) in enumerate(pairs):
        watching.register(
            ours, READ, lambda mask, ours=ours, number=number: served.append(number) or ours.recv(1)
        )
        theirs.send(b"x")
    rounds = []
    for _ in range(4):
        watching.serve(0)
        rounds.append(len(served))
    assert (sorted(served), rounds) == ([0, 1, 2, 3, 4], [2, 4, 5, 5])
    for pair in pairs:
        for end in pair:
            end.close()
