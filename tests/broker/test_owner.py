"""The process that a session belongs to: its end is noticed once, however it comes."""

import asyncio
import os
import subprocess
import sys

import pytest

from roujiamo.broker.owner import Owner
from roujiamo.system.processes import read_process
from tests.support import scaled


async def ended(pid: int, start: int, then: "subprocess.Popen[bytes] | None" = None) -> int:
    """How often `on_ended` is called until it is, and a moment longer; the process is killed once it is watched."""
    calls: list[int] = []
    called = asyncio.Event()

    def on_ended() -> None:
        calls.append(1)
        called.set()

    owner = Owner(pid, start, on_ended)
    try:
        if then is not None:
            await asyncio.sleep(0)
            assert not calls
            then.kill()
        await asyncio.wait_for(called.wait(), scaled(10))
        await asyncio.sleep(0)
    finally:
        owner.close()
    return len(calls)


@pytest.mark.parametrize("has_pidfd", [True, False])
@pytest.mark.parametrize("knows_start", [True, False])
def test_a_living_owner_is_watched(
    monkeypatch: pytest.MonkeyPatch, has_pidfd: bool, knows_start: bool
) -> None:
    """With a pidfd at once, without one soon: old kernels and containers' filters have none."""
    if not has_pidfd:
        monkeypatch.delattr(os, "pidfd_open")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"]) as process:
        seen = read_process(process.pid)
        assert seen is not None
        assert asyncio.run(ended(process.pid, seen.start if knows_start else 0, process)) == 1


def test_a_pid_that_is_another_process_now_means_that_the_owner_has_ended() -> None:
    """Between the shim's look at its launcher and the broker's there is time for a pid to come round again."""
    seen = read_process(os.getpid())
    assert seen is not None
    assert asyncio.run(ended(os.getpid(), seen.start - 1)) == 1


def test_an_owner_that_has_ended_before_is_noticed() -> None:
    """mpiexec may be gone before the broker has begun."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert asyncio.run(ended(process.pid, 0)) == 1
