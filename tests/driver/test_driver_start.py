"""The driver process before it has a master: its first line, its pipes, a missing pymesos, ZooKeeper."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from roujiamo.pymesos_driver import INSTALL_LINE
from tests.driver.driver_process import driver, first_line

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("line", [b"garbage\n", b"{}\n", b'{"master": "https://m", "framework": {}}\n'])
def test_a_wrong_first_line_is_fatal(line: bytes) -> None:
    """One event, one sentence on stderr, exit status 2."""
    with driver(None) as running:
        running.send(line)
        (event,) = running.read_to_end()
        assert (event["event"], event["kind"], event["fatal"]) == ("error", "invalid", True)
        assert running.wait() == 2
        assert running.log() == f"roujiamo driver: {event['message']}\n"


def test_without_a_first_line_there_is_nothing_to_do() -> None:
    """A broker that died at once."""
    with driver(None) as running:
        running.close_stdin()
        assert running.wait() == 0
        assert running.log() == ""


def test_a_call_that_cannot_be_read_is_reported_and_the_next_one_done() -> None:
    """A mistake in one call is not the end of the framework."""
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        driver(
            first_line(f"127.0.0.1:{silent.getsockname()[1]}", limits={"teardown_seconds": 0.3})
        ) as running,
    ):
        running.send(b"garbage\n")
        running.send({"call": "explode"})
        running.send({"call": "ping", "id": 1})
        assert running.expect("pong") == {"event": "pong", "id": 1, "blocked_seconds": 0.0}
        assert [event["kind"] for event in running.seen] == ["internal", "internal"]
        assert not any(event["fatal"] for event in running.seen)


def test_a_line_without_an_end_is_fatal() -> None:
    """It would have to be stored for ever."""
    with driver(None) as running:

        def send() -> None:
            with contextlib.suppress(BrokenPipeError):
                running.send(b"x" * (17 << 20))

        writer = threading.Thread(target=send)
        writer.start()
        (event,) = running.read_to_end()
        writer.join()
        assert event["fatal"] is True
        assert "longer than" in event["message"]
        assert running.wait() == 2


def python_without_pymesos() -> str | None:
    """The interpreter that the venv was made from, or one on PATH: they have no pymesos."""
    for python in (
        getattr(sys, "_base_executable", ""),
        shutil.which("python3", path="/usr/bin:/usr/local/bin"),
    ):
        if python and os.path.exists(python):
            code = "import sys, importlib.util as u; print(sys.version_info >= (3, 11) and not u.find_spec('pymesos'))"
            answer = subprocess.run(
                [python, "-c", code], capture_output=True, text=True, timeout=60, check=False
            )
            if answer.stdout.strip() == "True":
                return python
    return None


@pytest.mark.skipif(python_without_pymesos() is None, reason="every Python 3.11 or later here has pymesos")
def test_a_missing_pymesos_is_named_with_the_line_that_installs_it() -> None:
    """In a Python that really has none."""
    python = python_without_pymesos()
    assert python is not None
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with driver(first_line("127.0.0.1:5050"), python=python, env=environment) as running:
        (event,) = running.read_to_end()
        assert (event["kind"], event["fatal"]) == ("pymesos_missing", True)
        assert INSTALL_LINE in event["message"]
        assert running.wait() == 1
        assert running.log() == f"roujiamo driver: {event['message']}\n"


def test_a_zookeeper_that_is_not_there_is_said_and_pings_are_answered() -> None:
    """kazoo would try for a while; it has a thread of its own, which holds neither pings nor the end back."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with driver(first_line(f"zk://127.0.0.1:{port}/mesos")) as running:
        running.send({"call": "ping", "id": 1})
        running.expect("pong")
        event = running.expect("error")
        assert (event["kind"], event["fatal"]) == ("unreachable", False)
        assert f"zk://127.0.0.1:{port}/mesos" in event["message"]
        running.close_stdin()
        assert running.wait() == 0
        assert running.log() == ""
