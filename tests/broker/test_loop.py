"""The broker's loop: connections are served while asyncio waits, and nothing waits for them longer than it must."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest

from roujiamo.broker.loop import connections, run
from roujiamo.system.selector import READ

# As many turns do not take so short a time as a timer of these tests does.
MANY = 200_000


@contextlib.contextmanager
def always_ready(action: Callable[[int], None]) -> Iterator[None]:
    """A connection that has something to read all the time; `action` is told the how manieth turn it is. In the loop.

    After MANY it is not ready any more, and fails, so that a loop that waits for its end goes on, late.
    """
    ours, theirs = socket.socketpair()
    turns = [0]

    def serve(mask: int) -> None:
        turns[0] += 1
        action(turns[0])
        if turns[0] == MANY:
            ours.recv(1)
            raise TimeoutError("nothing else had its turn")

    with ours, theirs:
        theirs.send(b"x")
        connections().register(ours, READ, serve)
        try:
            yield
        finally:
            connections().unregister(ours)


def test_what_an_action_wants_soon_comes_before_the_next_action() -> None:
    """It has its turn although a connection is ready all the time."""
    heard: list[str] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        over = loop.create_future()

        def action(turn: int) -> None:
            heard.append(f"action {turn}")
            if turn == 2:
                loop.call_soon(heard.append, "soon")
            elif turn == 3:
                over.set_result(None)

        with always_ready(action):
            await over

    run(scenario())
    assert heard[:4] == ["action 1", "action 2", "soon", "action 3"]


@pytest.mark.parametrize("within", [False, True])
def test_a_timer_comes_although_a_connection_is_always_ready(within: bool) -> None:
    """One that was there before the wait, and one that an action sets."""
    turns = [0]

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        due = loop.create_future()

        def action(turn: int) -> None:
            turns[0] = turn
            if within and turn == 5:
                loop.call_later(0.01, due.set_result, None)

        with always_ready(action):
            if not within:
                loop.call_later(0.01, due.set_result, None)
            await due

    run(scenario())
    assert 5 < turns[0] < MANY


def test_what_another_thread_wants_comes_although_a_connection_is_always_ready() -> None:
    """It is written to a descriptor of asyncio's own, which is waited for with the connections."""
    turns = [0]

    async def scenario() -> None:
        def action(turn: int) -> None:
            turns[0] = turn

        with always_ready(action):
            await asyncio.get_running_loop().run_in_executor(None, int)

    run(scenario())
    assert turns[0] < MANY
