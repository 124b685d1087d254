"""A small job under fault: its parts by name, its phases, and what must hold when it is over.

Imported by the fault matrix and by the chaos run. The job is two ranks on two hosts under Open MPI; they say `started`,
wait for a file, say `done` and end. Every process of it is a descendant of this one (a subreaper, prctl(2)).
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
from collections.abc import Iterator
from pathlib import Path

from roujiamo.system.runtime_folder import sweep
from tests.support import children_of, is_alive, mpi_environment, open_mpis, scaled, until

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
VICTIMS = ("wrapper", "broker", "driver", "mpiexec", "shim", "proxy", "daemon", "rank", "agent", "master")
# Stopped for so long, then continued.
STOP_SECONDS = 0.7
# Unhurt ranks are let go after this.
WATCH_SECONDS = 1.5
# No run may take longer, whatever happens to it.
LIMIT_SECONDS = 60.0
LEFT_SECONDS = 20.0


def adopt_orphans() -> None:
    """Become the one to whom everything that is left behind comes."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Job:
    """One run of the job; `inflict` does harm to it."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], known: set[int]) -> None:
        self.folder = folder
        self.process = process
        self._known = known
        self._held: list[int] = []

    def said(self, name: str) -> str:
        """What it has written to `out` or `err` so far."""
        return (self.folder / name).read_text(errors="replace")

    def parts(self) -> dict[str, list[int]]:
        """The pids of the living parts, by the names of VICTIMS."""
        found: dict[str, list[int]] = {victim: [] for victim in VICTIMS}
        executors = set()
        for pid in sorted(children_of(os.getpid()) - self._known):
            with contextlib.suppress(OSError):
                if not is_alive(pid):
                    continue
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                comm = Path(f"/proc/{pid}/comm").read_text().strip()
                victim = _part(words, comm)
                if victim == "executor":
                    executors.add(pid)
                elif victim is not None:
                    found[victim].append(pid)
        if is_alive(self.process.pid):
            found["wrapper"] = [self.process.pid]
        for executor in executors:
            found["proxy"] += [pid for pid in _own_children(executor) if is_alive(pid)]
        return found

    def reach(self, phase: str) -> None:
        """Wait for a phase; AssertionError where it does not come. A job that waits for offers must want too many."""

        def is_there() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"ended before {phase}: {self.said('err')}")
            parts = self.parts()
            if phase == OFFERS:
                return bool(parts["driver"] and parts["agent"])
            if phase == TASKS:
                return bool(parts["proxy"])
            if phase == CALLBACKS:
                return self._hold_one(parts["proxy"])
            if phase == DAEMONS:
                return bool(parts["shim"] and parts["daemon"])
            if phase == RANKS:
                return self.said("out").count("started") == 2
            return not parts["mpiexec"]

        if phase == FINISHING:
            self.reach(RANKS)
            self.let_go()
        until(is_there, 40, phase)

    def _hold_one(self, proxies: list[int]) -> bool:
        """Stop the first task that is seen; true when another one has called back (its init has a worker)."""
        if proxies and not self._held:
            os.kill(proxies[0], signal.SIGSTOP)
            self._held = [proxies[0]]
        return any(_own_children(pid) for pid in proxies if pid not in self._held)

    def inflict(self, victim: str, fault: str) -> bool:
        """Send `fault` (a signal's name, STOP is followed by CONT) to a part; False where there is none."""
        pids = self.parts()[victim]
        if not pids:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pids[-1], signal.Signals[f"SIG{fault}"])
            if fault == "STOP":
                time.sleep(STOP_SECONDS)
                os.kill(pids[-1], signal.SIGCONT)
        for pid in self._held:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        return True

    def let_go(self) -> None:
        """Let the ranks end."""
        (self.folder / "go").touch()

    def finish(self) -> int:
        """Wait for the end, letting unhurt ranks go; AssertionError where the run hangs. The status is a shell's."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(WATCH_SECONDS)
        self.let_go()
        try:
            status = self.process.wait(scaled(LIMIT_SECONDS))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"hangs: {self.parts()}; it said: {self.said('err')}") from None
        return status if status >= 0 else 128 - status

    def assert_nothing_left(self) -> None:
        """No process, and after the sweep that the next start would do, no socket, file or folder."""
        deadline = time.monotonic() + scaled(LEFT_SECONDS)
        while left := [pid for pid in children_of(os.getpid()) - self._known if not _reap(pid)]:
            if time.monotonic() > deadline:
                told = [f"{pid} {Path(f'/proc/{pid}/cmdline').read_bytes()[:200]!r}" for pid in left]
                raise AssertionError(f"left behind: {told}")
            time.sleep(0.05)
        for folder in self.folder.glob("tmp/roujiamo-*"):
            sweep(folder)
            with contextlib.suppress(OSError):
                folder.rmdir()
        files = [str(path.relative_to(self.folder)) for path in (self.folder / "tmp").rglob("*")]
        assert not files, f"left behind: {files}"
        assert str(self.folder) not in Path("/proc/net/unix").read_text(), "a socket is left"

    def end(self) -> None:
        """End all of it, whatever state it is in."""
        for _ in range(3):
            for pid in children_of(os.getpid()) - self._known:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        self.process.wait()
        for pid in children_of(os.getpid()) - self._known:
            _reap(pid)


@contextlib.contextmanager
def job(master: str = "local:2", nodes: int = 2, timeout_seconds: float = 25) -> Iterator[Job]:
    """A started job, ended and removed at the end."""
    mpi = open_mpis()[0]
    known = children_of(os.getpid())
    # A unix socket's address must fit.
    folder = Path(tempfile.mkdtemp(prefix="rj-"))
    (folder / "tmp").mkdir()
    program = f"echo started; until test -e {folder}/go; do sleep 0.1; done; echo done"
    line = [ROOT / "bin" / "ompirun.sh", "-N", str(nodes), "-n", str(nodes), "-c", "0.5", "-m", "32"]
    line += ["--timeout", f"{timeout_seconds:g}", master, "sh", "-c", program]
    environment = {**os.environ, **mpi_environment(), "TMPDIR": str(folder / "tmp"), "XDG_RUNTIME_DIR": ""}
    environment["ROUJIAMO_MPIEXEC"] = mpi.mpiexec
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, cwd=folder
        )
    started = Job(folder, process, known)
    try:
        yield started
    finally:
        started.end()
        shutil.rmtree(folder, ignore_errors=True)


def _part(words: list[bytes], comm: str) -> str | None:
    name = os.path.basename(words[0])
    if name in (b"orted", b"prted"):
        return "daemon"
    if name in (b"mpiexec", b"orterun", b"prterun"):
        return "mpiexec"
    if b"roujiamo.broker" in words:
        return "broker"
    if b"roujiamo.driver" in words:
        return "driver"
    if b"roujiamo.local" in words:
        return "agent" if comm.startswith("agent") else comm if comm in ("master", "executor") else None
    if any(word.endswith(b"/shim/__main__.py") for word in words):
        return "shim"
    if words[:2] == [b"sh", b"-c"] and b"echo started;" in words[2]:
        return "rank"
    return None


def _own_children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _reap(pid: int) -> bool:
    """Whether a process is gone; an orphan of ours that has ended is reaped."""
    if is_alive(pid):
        return False
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return True
