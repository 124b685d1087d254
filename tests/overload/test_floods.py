"""More than anybody needs: shims by the thousand, output that nobody can take as fast as it comes."""

from __future__ import annotations

import contextlib
import re
import resource
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker.conftest import SHIM, Session, folder, session_with
from tests.endurance.figures import figures, parts_of, settled, table
from tests.support import on_demand, scaled, until

__all__ = ["folder"]


@pytest.mark.parametrize("count", [pytest.param(1000, marks=on_demand)])
def test_a_thousand_shims_at_once_each_get_their_own(folder: Path, count: int) -> None:
    """All of them are there before the first may end (CI plays 128: `tests/broker/test_commands.py`)."""
    go = folder / "go"
    with session_with(folder) as session:
        session.wait_until_ready()
        parts = parts_of(session.client.pid, session.hosts)
        before = table(parts)
        started = time.monotonic()
        shims = [
            subprocess.Popen(
                [
                    SHIM,
                    session.hosts[n % 2]["name"],
                    f"echo {n}; until test -e {go}; do sleep 1; done; exit {n % 100}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                env=session.environment(),
            )
            for n in range(count)
        ]
        with contextlib.ExitStack() as stack:
            for shim in shims:
                stack.enter_context(shim)
            for n, shim in enumerate(shims):
                assert shim.stdout is not None
                assert shim.stdout.readline() == b"%d\n" % n
            seconds = time.monotonic() - started
            during = table(parts)
            go.touch()
            assert [shim.wait(scaled(120)) for shim in shims] == [n % 100 for n in range(count)]
        after = settled(parts, before)
        print(f"\n{count} shims at once after {seconds:.1f} s ({1000 * seconds / count:.0f} ms each)")
        for name, was in before.items():
            print(f"  {name:18} {was} -> {during[name]} -> {after[name]}")
            assert after[name].descriptors <= was.descriptors
            # A window is granted, and not filled, for each.
            assert during[name].rss_kib - was.rss_kib < 64 << 10
        go.unlink()


@pytest.fixture(scope="module")
def flooded() -> Iterator[Session]:
    """A session whose two hosts print zeros as fast as they can: three commands each, to readers that keep up."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="rj-") as path, session_with(Path(path)) as session:
        session.wait_until_ready()
        floods = [
            subprocess.Popen(
                [SHIM, session.hosts[n % 2]["name"], "cat /dev/zero"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=session.environment(),
            )
            for n in range(6)
        ]
        yield session
        for flood in floods:
            flood.terminate()
            flood.wait(scaled(30))


def test_floods_hold_nobody_up_and_stay_within_their_windows(flooded: Session) -> None:
    """Other commands are answered meanwhile, and nothing in between collects what comes."""
    parts = parts_of(flooded.client.pid, flooded.hosts)
    before = table(parts)
    for number in range(12):
        host = flooded.hosts[number % 2]["name"]
        assert flooded.rsh(host, f"echo {number}").stdout == b"%d\n" % number
    after = table(parts)
    for name, was in before.items():
        # Six windows of a megabyte, twice over, and what allocators keep of the turns they took.
        assert after[name].rss_kib - was.rss_kib < 48 << 10, f"{name}: {was} -> {after[name]}"


def test_a_host_that_may_start_no_more_commands_says_so_and_goes_on(folder: Path) -> None:
    """Its account's limit of processes, or the system's: the shim gives 255 and a sentence, and the next one runs."""
    with session_with(folder, nodes=1, processes=1) as session:
        session.wait_until_ready()
        (host,) = session.hosts
        worker = int(host["facts"]["pid"])
        soft, hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        used = figures(worker).descriptors
        # As many as it keeps free for itself, and too few for three pipes more.
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (used + 25, hard))
        done = session.rsh(host["name"], "true")
        assert done.returncode == 255
        assert re.search(rb"cannot start a process there: Too many open files", done.stderr)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (soft, hard))
        until(lambda: session.rsh(host["name"], "echo again").stdout == b"again\n", 10, "the next command")
