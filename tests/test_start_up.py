"""What the programs of a session load before the next one can go on: each of these modules costs the user's start."""

from __future__ import annotations

import subprocess
import sys

import pytest

_DRIVER = ("roujiamo.driver.program", "roujiamo.driver.framework", "roujiamo.driver.guardian")


@pytest.mark.parametrize(
    ("modules", "late"),
    [
        pytest.param(
            _DRIVER,
            (
                "argparse",
                "dataclasses",
                "email",
                "http.client",
                "inspect",
                "kazoo",
                "pymesos.executor",
                "ssl",
            ),
            id="driver",
        ),
        pytest.param(
            ("roujiamo.broker.driver_process",),
            ("asyncio", "logging", "pathlib", "socket", "subprocess", "typing"),
            id="what starts the driver",
        ),
        pytest.param(
            ("roujiamo.cli", "roujiamo.system.broker_client"),
            (
                *("argparse", "asyncio", "importlib", "json", "logging", "pathlib"),
                *("roujiamo.session", "socket", "subprocess", "typing"),
            ),
            id="what starts the broker",
        ),
        pytest.param(
            ("roujiamo.broker.program",),
            (
                *("_hashlib", "asyncio", "concurrent.futures", "subprocess"),
                *("roujiamo.broker.session", "roujiamo.mesos.gang", "roujiamo.proxy"),
            ),
            id="what tells the driver",
        ),
        pytest.param(
            ("roujiamo.broker.session",),
            (
                *("argparse", "hashlib", "http.client", "importlib.resources", "psutil", "secrets"),
                *("roujiamo.session.configuration", "tempfile", "tomllib"),
            ),
            id="broker",
        ),
        pytest.param(
            ("roujiamo.cli.run_command", "roujiamo.run.program"),
            (
                *("asyncio", "dataclasses", "difflib", "email", "getpass", "hashlib", "http.client"),
                *("inspect", "logging", "psutil", "roujiamo.local", "roujiamo.session.explanations"),
                *("secrets", "ssl", "textwrap", "tomllib"),
            ),
            id="run",
        ),
    ],
)
def test_a_program_does_not_load_what_its_start_does_not_need(
    modules: tuple[str, ...], late: tuple[str, ...]
) -> None:
    """In a process of its own, as it starts."""
    code = f"import sys, {', '.join(modules)}; print(*sorted({set(late)!r} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [], "")


def test_a_broker_loads_asyncio_without_what_it_does_not_use_of_that() -> None:
    """Inspect and what that loads: it is there for whoever uses it."""
    code = """
import sys
from roujiamo.broker.loading import load_asyncio
load_asyncio()
import asyncio, roujiamo.broker.session, roujiamo.proxy.carried
async def work():
    reader, writer = await asyncio.open_unix_connection(sock=__import__("socket").socketpair()[0])
    writer.close()
    await asyncio.wait_for(asyncio.sleep(0), 10)
    roujiamo.proxy.carried.CarriedCode().of(b"")
    roujiamo.proxy.carried.CarriedCode().of(roujiamo.proxy.carried.importlib.util.MAGIC_NUMBER)
asyncio.run(work())
print(*({"ast", "dis", "ssl"} & sys.modules.keys()))
import inspect
print(inspect.iscoroutinefunction(work))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\nTrue\n", "")
