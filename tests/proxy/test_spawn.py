"""A remote command's first process: what it starts with, and how it is told that it cannot be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.tools import ROOT

_HEAD = f"""\
import os, sys
sys.path.append({str(ROOT)!r})
from roujiamo.proxy.spawn import keep_descriptors, start_shell
folder = sys.argv[1]
told = os.open(folder + "/told", os.O_WRONLY | os.O_CREAT)
os.set_inheritable(told, True)
"""


def told(folder: Path, program: str, **run: object) -> list[str]:
    """Run the program as a worker of its own; return the lines that it wrote into `told`."""
    words = [sys.executable, "-I", "-S", "-c", _HEAD + program, str(folder)]
    subprocess.run(words, check=True, timeout=60, **run)  # type: ignore[call-overload]
    return (folder / "told").read_text().splitlines()


def test_what_the_proxy_was_started_with_is_not_the_commands(tmp_path: Path) -> None:
    """An executor may have left a descriptor open for its child, and it would stay open as long as the command runs."""
    program = """
keep_descriptors()
read_end, write_end = os.pipe()
pid = start_shell(b"ls /proc/self/fd | wc -l", os.environb, folder, [0, write_end, 2])
os.waitpid(pid, 0)
os.write(told, os.read(read_end, 100))
"""
    # Its three, and the folder that `ls` reads.
    assert told(tmp_path, program, stdin=subprocess.DEVNULL) == ["4"]


def test_pipes_with_the_numbers_of_stdin_stdout_and_stderr_are_told_apart(tmp_path: Path) -> None:
    """A task may be started with all three closed, and the next pipes get their numbers, in any order."""
    program = """
for number in range(3):
    os.close(number)
a, b = os.pipe()
c, d = os.pipe()
assert (a, b, c) == (0, 1, 2)
pid = start_shell(b"read line; echo out $line; echo error >&2", os.environb, folder, [c, b, b])
os.write(d, b"in\\n")
os.waitpid(pid, 0)
os.write(told, os.read(a, 100))
"""
    assert told(tmp_path, program) == ["out in", "error"]


def test_what_is_missing_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    """No process to wait for, no descriptor."""
    program = """
before = os.listdir("/proc/self/fd")
try:
    start_shell(b"true", os.environb, folder + "/gone", [0, 1, 2])
except FileNotFoundError as error:
    os.write(told, (error.filename + "\\n").encode())
try:
    start_shell(b"true", {b"A": b"x" * (1 << 22)}, folder, [0, 1, 2])
except OSError as error:
    os.write(told, ("%s %s\\n" % (error.filename, error.strerror)).encode())
try:
    os.waitpid(-1, 0)
except ChildProcessError:
    os.write(told, b"no child\\n")
assert os.listdir("/proc/self/fd") == before
"""
    assert told(tmp_path, program) == [f"{tmp_path}/gone", "/bin/sh Argument list too long", "no child"]
