"""Full disks: under the temporary folder, under the sandboxes, and one that fills up while a job runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.conftest import Bench
from tests.support import open_mpis, requires_open_mpi, without_open_mpis_race


def why_not() -> str | None:
    """Return why there can be no small disks here; None where there can."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return "a disk of a few megabytes needs root and mount(8)"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["unshare", "-m", "mount", "-t", "tmpfs", "none", folder], capture_output=True, text=True
        )
    return f"no mounts here: {done.stderr.strip()}" if done.returncode else None


pytestmark = [requires_open_mpi, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]


class SmallDisk(Bench):
    """A bench whose temporary folder is a disk of four megabytes; `fill` leaves so much of it free."""

    def fill(self, kib: int) -> None:
        free = os.statvfs(self.folder).f_bavail * os.statvfs(self.folder).f_frsize
        (self.folder / "fill").write_bytes(bytes(max(0, free - (kib << 10))))

    def left_files(self) -> list[str]:
        return [name for name in super().left_files() if name not in ("fill", "go")]


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    """Mounted for one test."""
    folder = Path(tempfile.mkdtemp(prefix="rj-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", folder], check=True)
    try:
        bench = SmallDisk(folder, open_mpis()[0])
        yield bench
        bench.assert_nothing_left()
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            subprocess.run(["umount", "-l", folder], check=True)
        folder.rmdir()


def test_a_full_temporary_folder_is_said_before_anything_is_started(disk: SmallDisk) -> None:
    """One sentence that names it and what to do, not the tail of what goes wrong in it."""
    disk.fill(40)
    result = disk.ompirun("-N", "2", "-n", "2", "local", "true")
    assert (result.status, result.out, result.err.count("\n")) == (1, "", 1)
    assert f"the disk of {disk.folder}" in result.err
    assert "is full (40 kB are free" in result.err
    assert "ROUJIAMO_RUNTIME_DIR" in result.err


def test_a_full_disk_under_the_sandboxes_is_said_by_the_tasks_that_meet_it(disk: SmallDisk) -> None:
    """It is the agent's disk: nobody could read of it in the sandbox's log. The run ends, and says it."""
    disk.fill(150)
    with tempfile.TemporaryDirectory(prefix="rj-") as runtime:
        disk.environment["ROUJIAMO_RUNTIME_DIR"] = runtime
        result = disk.ompirun("-N", "2", "-n", "2", "--timeout", "4", "local", "true")
    assert result.status in (1, 124)
    assert "No space left on device" in result.err, result.err


def test_a_job_goes_on_when_the_disk_fills_up_under_it(disk: SmallDisk) -> None:
    """What is written then is a log's lines; they are lost, and the job is not."""
    go = disk.folder / "go"
    program = f"echo started; until test -e {go}; do sleep 0.1; done; seq 1 2000; echo finished"
    with disk.started("-N", "2", "-n", "2", "local", "sh", "-c", program) as run:
        run.wait_for_line("started", 60)
        disk.fill(0)
        go.touch()
        assert run.wait(60) == 0, run.errors()
        assert run.output().count("finished") == 2
        assert run.output().count("\n") == 2 * 2002
        assert without_open_mpis_race(run.errors()) == ""
