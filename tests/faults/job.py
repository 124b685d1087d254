"""A small job under fault: its phases, what may be done to it, and what must hold when it is over.

Imported by the fault matrix and by the chaos run. The job is two ranks on two hosts under Open MPI; they say `started`,
wait for a file, say `done` and end.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.faults.leftovers import all_left, reap
from tests.faults.parts import MARKER, Parts, own_children
from tests.support import is_alive, mpi_environment, open_mpis, scaled, state_of, until

ROOT = Path(__file__).resolve().parents[2]
PR_SET_CHILD_SUBREAPER = 36

OFFERS, TASKS, CALLBACKS, DAEMONS, RANKS, FINISHING = (
    "waiting for offers",
    "tasks starting",
    "call-backs half in",
    "launching daemons",
    "ranks running",
    "finishing",
)
PHASES = (OFFERS, TASKS, CALLBACKS, DAEMONS, RANKS, FINISHING)
# A job that is to wait for offers wants more hosts than there are, for so long.
NO_OFFERS_SECONDS = 3.0
# Stopped for so long, then continued.
STOP_SECONDS = 0.7
# Unhurt ranks are let go after this.
WATCH_SECONDS = 1.0
PHASE_SECONDS = 40.0
# No run may take longer, whatever happens to it.
LIMIT_SECONDS = 60.0
LEFT_SECONDS = 20.0


class Site(NamedTuple):
    """Where a job runs: MASTER as the user gives it, and what is known about that cluster.

    `is_shared`: others use it at the same time; `is_near`: its tasks are descendants of this process.
    """

    master: str
    is_shared: bool = False
    is_near: bool = True

    @property
    def address(self) -> str | None:
        """The master's, where the cluster outlives the job."""
        return None if self.master.startswith("local") else self.master


# A cluster of the job's own.
OWN = Site("local:2")


def adopt_orphans() -> None:
    """Become the one to whom everything that is left behind comes."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Job:
    """One run of the job; `inflict` does harm to it."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], parts: Parts, site: Site) -> None:
        self.folder = folder
        self.process = process
        self._parts = parts
        self._site = site
        self._held: list[int] = []

    def said(self, name: str) -> str:
        """What it has written to `out` or `err` so far."""
        return (self.folder / name).read_text(errors="replace")

    def parts(self) -> dict[str, list[int]]:
        """The pids of the living parts, by the names of VICTIMS."""
        return self._parts.living()

    def reach(self, phase: str) -> bool:
        """Wait for a phase; AssertionError where it does not come. A job that waits for offers must want too many.

        For the phases before all have called back one task is kept stopped until the fault has been done; False where
        that one had called back already.
        """

        def is_there() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"ended before {phase}: {self.said('err')}")
            if phase == RANKS:
                return self.said("out").count("started") == 2
            if phase == OFFERS:
                return "waiting in case that changes" in self.said("err")
            parts = self.parts()
            if phase in (TASKS, CALLBACKS):
                proxies = parts["proxy"]
                if proxies and not self._held:
                    self._hold(proxies[0])
                if phase == TASKS:
                    return bool(self._held)
                return any(_has_called_back(pid) for pid in proxies if pid not in self._held)
            return bool(parts["shim"] and parts["daemon"])

        if phase != FINISHING:
            until(is_there, PHASE_SECONDS, phase)
            return not any(map(_has_called_back, self._held))
        self.reach(RANKS)
        launchers = self.parts()["mpiexec"]
        self.let_go()
        deadline = time.monotonic() + scaled(PHASE_SECONDS)
        # It is over soon after.
        while any(map(is_alive, launchers)):
            assert time.monotonic() < deadline, "mpiexec does not end"
            time.sleep(0.002)
        return True

    def _hold(self, proxy: int) -> None:
        with contextlib.suppress(OSError):
            os.kill(proxy, signal.SIGSTOP)
            self._held = [proxy]
            until(lambda: state_of(proxy) in "TZX", what="the task to stop")
            return
        # It has ended meanwhile.
        self._held = []

    def inflict(self, victim: str, fault: str) -> bool:
        """Send `fault` (a signal's name, STOP is followed by CONT) to a part; False where there is none."""
        pids = self.parts()[victim]
        if not pids:
            return False
        was_there = True
        try:
            os.kill(pids[-1], signal.Signals[f"SIG{fault}"])
        except ProcessLookupError:
            was_there = False
        if fault == "STOP":
            time.sleep(STOP_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[-1], signal.SIGCONT)
        self.go_on()
        return was_there

    def go_on(self) -> None:
        """Let the task go on that was stopped."""
        for pid in self._held:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._held = []

    def let_go(self) -> None:
        """Let the ranks end."""
        (self.folder / "go").touch()

    def finish(self) -> int:
        """Wait for the end, letting unhurt ranks go; AssertionError where the run hangs. The status is a shell's."""
        self.go_on()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(WATCH_SECONDS)
        self.let_go()
        try:
            status = self.process.wait(scaled(LIMIT_SECONDS))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"hangs: {self.parts()}; it said: {self.said('err')}") from None
        return status if status >= 0 else 128 - status

    def assert_nothing_left(self) -> None:
        """No process, socket, file or folder; on a master that goes on no framework, task or offer."""
        deadline = time.monotonic() + scaled(LEFT_SECONDS)
        name = f"roujiamo {self.folder.name}"
        while left := list(
            all_left(self._parts, self.folder, self._site.address, name, is_alone=not self._site.is_shared)
        ):
            assert time.monotonic() < deadline, f"left behind: {'; '.join(left)}"
            time.sleep(0.05)

    def end(self) -> None:
        """End all of it, whatever state it is in."""
        for _ in range(3):
            for pid in self._parts.descendants() | {pid for pids in self.parts().values() for pid in pids}:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not self._parts.descendants():
                break
            time.sleep(0.05)
        self.process.wait()
        for pid in self._parts.descendants():
            reap(pid)


def _has_called_back(proxy: int) -> bool:
    """Whether a task's init has a worker."""
    return bool(own_children(proxy))


@contextlib.contextmanager
def job(site: Site, phase: str) -> Iterator[Job]:
    """A started job that comes through that phase, ended and removed at the end."""
    mpi = open_mpis()[0]
    # A unix socket's address must fit.
    folder = Path(tempfile.mkdtemp(prefix="rj-"))
    (folder / "tmp").mkdir()
    mark = uuid.uuid4().hex
    nodes, timeout_seconds = ("9", NO_OFFERS_SECONDS) if phase == OFFERS else ("2", 25.0)
    program = f"echo started; until test -e {folder}/go; do sleep 0.1; done; echo done"
    line = [ROOT / "bin" / "ompirun.sh", "--name", folder.name, "-N", nodes, "-n", nodes, "-c", "0.5"]
    line += ["-m", "32", "--timeout", f"{timeout_seconds:g}", "--env", f"{MARKER}={mark}"]
    line += [site.master, "sh", "-c", program]
    environment = {**os.environ, **mpi_environment(), "TMPDIR": str(folder / "tmp"), "XDG_RUNTIME_DIR": ""}
    environment |= {"ROUJIAMO_MPIEXEC": mpi.mpiexec, MARKER: mark}
    parts = Parts(mark, folder / "tmp", is_near=site.is_near)
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, cwd=folder
        )
    started = Job(folder, process, parts, site)
    try:
        yield started
    finally:
        started.end()
        shutil.rmtree(folder, ignore_errors=True)
