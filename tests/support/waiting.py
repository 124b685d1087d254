"""Waiting for a condition, never for a time.

Imported by the test process only. `ROUJIAMO_TEST_TIME_SCALE` stretches every deadline on a slow machine.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def scaled(seconds: float) -> float:
    """`seconds`, stretched by ROUJIAMO_TEST_TIME_SCALE (1 by default)."""
    return seconds * float(os.environ.get("ROUJIAMO_TEST_TIME_SCALE", "1"))


def until(predicate: Callable[[], T], seconds: float = 10, what: str = "") -> T:
    """Poll `predicate` until it is true and return its value; AssertionError with `what` after `seconds` (scaled)."""
    deadline = time.monotonic() + scaled(seconds)
    pause = 0.002
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {scaled(seconds):g} s: {what or predicate}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


async def come_true(predicate: Callable[[], object], seconds: float = 10) -> None:
    """Let the loop run until `predicate` is true; TimeoutError after `seconds` (scaled)."""
    async with asyncio.timeout(scaled(seconds)):
        while not predicate():  # noqa: ASYNC110 what is waited for knows of no event
            await asyncio.sleep(0.001)
