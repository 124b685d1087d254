"""Intruders attack real sessions, those that the broker's tests start."""

from tests.broker.conftest import folder

__all__ = ["folder"]
