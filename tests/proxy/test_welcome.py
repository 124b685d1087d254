"""The welcome: all that an agent needs, and never more than the wire allows."""

from __future__ import annotations

import json
import random
import zlib

import pytest

from roujiamo.errors import UsageError
from roujiamo.proxy.welcome import build_welcome, carried_modules


def test_what_an_agent_runs_is_carried_and_nothing_else() -> None:
    """Nothing of roujiamo is installed there; what stays here would only cost bytes, once per host."""
    modules = carried_modules()
    assert {
        "roujiamo.__init__",
        "roujiamo.errors",
        "roujiamo.protocol.__init__",
        "roujiamo.protocol.link",
        "roujiamo.proxy.__init__",
        "roujiamo.proxy.worker",
        "roujiamo.system.__init__",
        "roujiamo.system.processes",
    } <= set(modules)
    packages = {name.split(".")[1] for name in modules}
    assert packages <= {"__init__", "errors", "protocol", "proxy", "shim", "system"}
    assert {name for name in modules if ".system." in name} == {
        "roujiamo.system.__init__",
        "roujiamo.system.processes",
    }
    assert "roujiamo.proxy.bootstrap" not in modules


def test_the_welcome_holds_what_it_was_given() -> None:
    """Bytes that are no UTF-8 travel as Python reads them from an environment."""
    environment = {"NAME": "value", "ODD": b"\xff".decode("utf-8", "surrogateescape")}
    payload = build_welcome({"a.b": "c"}, environment, {"kill_grace_seconds": 3}, "/opt/mpi")
    assert json.loads(zlib.decompress(payload)) == {
        "modules": {"a.b": "c"},
        "environment": environment,
        "settings": {"kill_grace_seconds": 3},
        "prefix": "/opt/mpi",
    }


def test_an_environment_that_no_frame_holds_is_the_users_mistake() -> None:
    """It is told before any host is asked for."""
    for value in ("x" * 70_000_000, random.Random(1).randbytes(4_300_000).hex()):
        with pytest.raises(
            UsageError, match=f"environment for the remote commands has {len(value) + 1} bytes"
        ):
            build_welcome({}, {"A": value}, {})
