"""Ctrl-C in each phase of a run, by the terminal: mpiexec and the run get it at once, where both are there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import shutil
import subprocess
import tempfile
import termios
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.job import CALLBACKS, DAEMONS, FINISHING, OFFERS, OWN, PHASES, RANKS, ROOT, TASKS, Job
from tests.faults.parts import MARKER, Parts
from tests.support import mpi_environment, on_demand, open_mpis, requires_open_mpi

# What `roujiamo/docs/faults.md` promises of an INT to the run alone holds for the terminal's, too.
STATUSES = {OFFERS: (130,), TASKS: (130,), CALLBACKS: (130,), FINISHING: (0, 1, 130)}
SAMPLE = (TASKS, DAEMONS)
TRIES = 4


@contextlib.contextmanager
def job_at_a_terminal(phase: str) -> Iterator[tuple[Job, int]]:
    """The job of the fault matrix, with a terminal of its own; and the terminal's other end."""
    folder = Path(tempfile.mkdtemp(prefix="rj-"))
    (folder / "tmp").mkdir()
    mark = uuid.uuid4().hex
    nodes = "9" if phase == OFFERS else "2"
    program = f"echo started; until test -e {folder}/go; do sleep 0.1; done; echo done"
    line = [ROOT / "bin" / "ompirun.sh", "--name", folder.name, "-N", nodes, "-n", nodes, "-c", "0.5"]
    line += ["-m", "32", "--timeout", "25", "--env", f"{MARKER}={mark}", OWN.master, "sh", "-c", program]
    environment = {**os.environ, **mpi_environment(), "TMPDIR": str(folder / "tmp"), "XDG_RUNTIME_DIR": ""}
    environment |= {"ROUJIAMO_MPIEXEC": open_mpis()[0].mpiexec, MARKER: mark}
    parts = Parts(mark, folder / "tmp", is_near=True)
    ours, theirs = pty.openpty()
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            line,
            stdin=theirs,
            stdout=out,
            stderr=err,
            env=environment,
            cwd=folder,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
    os.close(theirs)
    job = Job(folder, process, parts, OWN)
    try:
        yield job, ours
    finally:
        os.close(ours)
        job.end()
        shutil.rmtree(folder, ignore_errors=True)


@requires_open_mpi
@pytest.mark.parametrize(
    "phase", [phase if phase in SAMPLE else pytest.param(phase, marks=on_demand) for phase in PHASES]
)
@pytest.mark.parametrize("times", [1, pytest.param(2, marks=on_demand)], ids=["once", "twice"])
def test_ctrl_c_ends_the_run_in_every_phase(phase: str, times: int) -> None:
    """With the promised status, and nothing is left."""
    assert any(ends_by_ctrl_c(phase, times) for _ in range(TRIES)), f"{phase} was over too soon each time"


def ends_by_ctrl_c(phase: str, times: int) -> bool:
    """Play it; False where the phase was over too soon for its promise to hold."""
    with job_at_a_terminal(phase) as (job, terminal):
        is_in_time = job.reach(phase)
        for _ in range(times):
            os.write(terminal, b"\x03")
        status = job.finish()
        if is_in_time and phase in STATUSES:
            assert status in STATUSES[phase], job.said("err")
        else:
            assert status != 0
            assert phase != RANKS or job.said("out").count("done") == 0
        assert "Traceback" not in job.said("err")
        job.assert_nothing_left()
    return is_in_time
