"""The driver subscribes while the broker still loads: whatever comes of the session, the framework ends with it."""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roujiamo.session.request import SessionRequest
from roujiamo.system.broker_client import SessionClient
from roujiamo.system.processes import children_of, read_process
from roujiamo.system.session_client import current_user
from tests.broker.conftest import session_with
from tests.support import running, until


@pytest.fixture(scope="module")
def master() -> Iterator[str]:
    """A cluster that outlives its sessions."""
    with running([sys.executable, "-m", "roujiamo.local", "--port", "0"], ready="local cluster") as program:
        yield program.ready_line.partition("master ")[2].partition(",")[0]


def frameworks(master: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"http://{master}/frameworks", timeout=20) as answer:
        found: list[dict[str, Any]] = json.load(answer)["frameworks"]
    return found


def test_a_session_that_fails_before_its_first_task_leaves_no_framework(folder: Path, master: str) -> None:
    """Its environment is found to be too large when the driver has been told."""
    # Not to be made smaller.
    environment = {"LARGE": base64.b64encode(os.urandom(4 << 20)).decode()}
    with session_with(folder, master=master, environment=environment) as session:
        with pytest.raises(AssertionError, match="environment for the remote commands has"):
            session.next("ready")
        assert session.next("closed")["clean"]
        assert frameworks(master) == []


def test_a_broker_that_is_killed_as_the_framework_comes_leaves_none(folder: Path, master: str) -> None:
    """The driver is told by its pipe's end, and tears the framework down."""
    client = SessionClient()
    request = SessionRequest(
        master=master,
        name="test",
        user=current_user(),
        folder=str(folder / "s"),
        owner_pid=os.getpid(),
        # More than there is: nothing is launched.
        cpus_per_process=640.0,
        processes=1,
    )
    client.ask_for(request)
    (driver,) = until(lambda: children_of(client.pid), 20, "the driver")
    until(lambda: frameworks(master), 20, "the framework")
    os.kill(client.pid, signal.SIGKILL)
    client.wait(20)
    client.control.close()
    until(lambda: read_process(driver) is None, 20, "the driver's end")
    assert frameworks(master) == []
