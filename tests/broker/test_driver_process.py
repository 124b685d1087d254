"""The driver that a broker starts before it knows what for."""

from __future__ import annotations

import os
import signal

from roujiamo.broker.driver_process import DriverProcess
from roujiamo.mesos.framework_info import framework_info
from roujiamo.system.broker_client import SessionClient
from roujiamo.system.processes import children_of, read_process
from tests.support import until


def test_a_broker_whose_owner_is_gone_before_its_request_leaves_no_driver() -> None:
    """The driver was told nothing, so there is nothing to tear down."""
    client = SessionClient()
    (driver,) = until(lambda: children_of(client.pid), 20, "the driver")
    client.give_up()
    assert read_process(client.pid) is None
    assert read_process(driver) is None


def test_a_driver_that_was_told_and_is_dropped_is_not_killed() -> None:
    """It may have subscribed by then: it ends by itself, with a teardown."""
    driver = DriverProcess()
    framework = framework_info("roujiamo test", "nobody", roles=("*",))
    # Nobody listens there.
    driver.tell({"master": "127.0.0.1:1", "framework": framework, "principal": None, "secret": None})
    driver.drop()
    assert driver.status == 0


def test_a_driver_that_is_dropped_is_reaped() -> None:
    """Be it that it has not even loaded."""
    driver = DriverProcess()
    assert os.getsid(driver.pid) == driver.pid
    driver.drop()
    assert driver.status == -signal.SIGKILL
    driver.drop()
