"""Waiting for a condition, never for a time.

Imported by the test process only. `ROUJIAMO_TEST_TIME_SCALE` stretches every deadline on a slow machine.
"""

from __future__ import annotations

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
