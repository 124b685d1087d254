"""The driver that a broker starts before it knows what for."""

from __future__ import annotations

import os
import signal
import socket
import subprocess

from roujiamo.broker.driver_process import DriverProcess
from roujiamo.system.processes import children_of, read_process
from roujiamo.system.programs import program_command
from tests.support import scaled, until


def test_a_broker_whose_owner_is_gone_before_its_request_leaves_no_driver() -> None:
    """The driver was told nothing, so there is nothing to tear down."""
    ours, theirs = socket.socketpair()
    with theirs:
        broker = subprocess.Popen(
            program_command("roujiamo.broker", "--control-fd", str(theirs.fileno())),
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
    with ours:
        (driver,) = until(lambda: children_of(broker.pid), 20, "the driver")
    assert broker.wait(scaled(20)) != 0
    assert read_process(driver) is None


def test_a_driver_that_is_dropped_is_reaped() -> None:
    """Be it that it has not even loaded."""
    driver = DriverProcess(verbose=False)
    assert os.getsid(driver.pid) == driver.pid
    driver.drop()
    assert driver.status == -signal.SIGKILL
    driver.drop()
