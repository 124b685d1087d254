"""The welcome: what the session and its user want of a host, and never more than the wire allows."""

from __future__ import annotations

import random

import pytest

from roujiamo.errors import UsageError
from roujiamo.proxy.welcome import Welcome, build_welcome


def test_the_welcome_holds_what_it_was_given() -> None:
    """Bytes that are no UTF-8 travel as Python reads them from an environment."""
    environment = {"NAME": "value", "ODD": b"\xff".decode("utf-8", "surrogateescape")}
    settings = {"kill_grace_seconds": 3, "silence_seconds": 0.5, "unlocks_memory": True}
    welcome = Welcome(build_welcome(environment, settings, "/opt/mpi") + b"credential")
    assert welcome.environment == environment
    assert welcome.settings == settings
    assert welcome.prefix == "/opt/mpi"
    assert welcome.resume == b"credential"


def test_an_environment_that_no_frame_holds_is_the_users_mistake() -> None:
    """It is told before any host is asked for."""
    for value in ("x" * 70_000_000, random.Random(1).randbytes(4_300_000).hex()):
        with pytest.raises(
            UsageError, match=f"environment for the remote commands has {len(value) + 1} bytes"
        ):
            build_welcome({"A": value}, {})
