"""Real programs under test: started, waited for by their ready-line, and ended.

Imported by the test process only. Output goes to unnamed files, so nothing needs a reader thread or fills a pipe.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tests.support.waiting import scaled, until


class Program:
    """A running program; `process` is its Popen, `ready_line` the line that `running` waited for ("" without one)."""

    def __init__(self, process: subprocess.Popen[bytes], stdout: IO[bytes], stderr: IO[bytes]) -> None:
        self.process = process
        self.pid = process.pid
        self.ready_line = ""
        self._stdout = stdout
        self._stderr = stderr

    def output(self) -> str:
        """All of its stdout so far."""
        return _contents(self._stdout)

    def errors(self) -> str:
        """All of its stderr so far."""
        return _contents(self._stderr)

    def wait(self, seconds: float = 20) -> int:
        """Its exit status, as Popen gives it; AssertionError with its output when it does not end in time (scaled)."""
        try:
            return self.process.wait(scaled(seconds))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {scaled(seconds):g} s: {self._describe()}") from None

    def wait_for_line(self, text: str, seconds: float = 20) -> str:
        """The first complete line of stdout with `text` in it; AssertionError when the program ends without one."""

        def find() -> str | None:
            ended = self.process.poll() is not None
            for line in self.output().splitlines(keepends=True):
                if text in line and line.endswith("\n"):
                    return line.rstrip("\n")
            if ended:
                raise AssertionError(f"ended without the line {text!r}: {self._describe()}")
            return None

        line = until(find, seconds, f"the line {text!r} from {self._describe()}")
        assert line is not None
        return line

    def _describe(self) -> str:
        return f"{self.process.args!r}\nstdout: {self.output()}\nstderr: {self.errors()}"


@contextlib.contextmanager
def running(
    argv: Sequence[str | os.PathLike[str]],
    *,
    ready: str | None = None,
    environment: Mapping[str, str] | None = None,
    seconds: float = 20,
    **popen: Any,
) -> Iterator[Program]:
    """Run `argv` for the time of a with-block; SIGTERM, then SIGKILL, when it has not ended by then.

    With `ready`, enters the block only when a line of its stdout with that text has come. `environment` is added to
    the test's own. Other arguments go to Popen.
    """
    env = {**os.environ, **(environment or {})}
    popen.setdefault("stdin", subprocess.DEVNULL)
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(argv, stdout=stdout, stderr=stderr, env=env, **popen)
        program = Program(process, stdout, stderr)
        try:
            if ready is not None:
                program.ready_line = program.wait_for_line(ready, seconds)
            yield program
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(scaled(10))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()


def children_of(pid: int) -> set[int]:
    """The pids of all living or unreaped descendants of `pid`."""
    # Not by reading every process's parent: that costs more than most tests (proc(5), /proc/pid/task/tid/children).
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        # A process may end between any two looks, also while its threads are listed.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for path in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
                children = set(map(int, path.read_text().split())) - found
                found |= children
                waiting.extend(children)
    return found


def children_called(pid: int, name: str) -> list[int]:
    """The pids of the living children of `pid` with that name (proc(5), /proc/pid/comm)."""
    found = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if Path(f"/proc/{child}/comm").read_text().strip() == name and is_alive(int(child)):
                    found.append(int(child))
    return found


def processes_with(name: str, value: str) -> list[str]:
    """The processes, as pid and command line, that have a variable of that value in their environment."""
    wanted = f"{name}={value}".encode()
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            # It may be another user's, or end while it is looked at.
            with contextlib.suppress(OSError):
                if wanted in (process / "environ").read_bytes().split(b"\0"):
                    found.append(f"{process.name} {(process / 'cmdline').read_bytes()[:2000]!r}")
    return found


def is_alive(pid: int) -> bool:
    """Whether a process of that number runs (one that only waits to be reaped does not)."""
    try:
        return state_of(pid) not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def state_of(pid: int) -> str:
    """A process's state, T for a stopped one (proc(5), /proc/pid/stat). Raises OSError where there is no process."""
    # It comes after the name, which may hold anything.
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]


def _contents(file: IO[bytes]) -> str:
    # pread leaves the offset alone, which this file shares with the program that writes it.
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")
