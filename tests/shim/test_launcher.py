"""Whose end is the shim's end: an MPI launcher's is, a person's shell's is not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from roujiamo.shim.launcher import Launcher, read_start
from tests.shim.session import RSH, environment_of
from tests.support import is_alive, running, until

# A launcher as far as /proc shows: a process of that name with the shim as its child.
PARENT = """
import subprocess, sys
shim = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
print("shim", shim.pid, flush=True)
shim.wait()
"""


def parent_called(name: str, folder: Path) -> list[str]:
    """Return the start of an argv that runs PARENT as a process of that name."""
    program = folder / name
    # A script's name is its process's name (execve(2)).
    program.write_text(f"#!{sys.executable}\n{PARENT}")
    program.chmod(0o755)
    return [str(program)]


@pytest.mark.parametrize(
    "name",
    ["mpiexec", "mpirun", "orterun", "orted", "prterun", "prted", "prte", "mpiexec.hydra", "hydra_pmi_proxy"],
)
def test_the_shim_ends_with_its_launcher(server: str, tmp_path: Path, name: str) -> None:
    """mpirun dies without ending its agents; each would keep its daemon, and the daemon its task."""
    pid_file = tmp_path / "pid"
    argv = [*parent_called(name, tmp_path), RSH, "host", f"echo $$ >{pid_file}; echo ready; exec sleep 1000"]
    with running(argv, ready="ready", environment=environment_of(server)) as launcher:
        shim = int(launcher.output().split("shim ")[1].split()[0])
        launcher.process.kill()
        launcher.wait()
        until(lambda: not is_alive(shim), what="the shim's end")
        until(lambda: not is_alive(int(pid_file.read_text())), what="the command's end")
        assert launcher.errors() == ""


def test_a_command_that_ends_just_after_its_launcher_says_how(server: str, tmp_path: Path) -> None:
    """A daemon that fails because its launcher has left tells what the launcher's own success is worth."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    argv = [*parent_called("mpiexec", tmp_path), RSH, "host", f"echo ready; read x <{fifo}; exit 3"]
    with running(argv, ready="ready", environment=environment_of(server)) as launcher:
        shim = int(launcher.output().split("shim ")[1].split()[0])
        launcher.process.kill()
        launcher.wait()
        fifo.write_text("\n")
        # An orphan comes to the tests' own process (prctl(2), PR_SET_CHILD_SUBREAPER).
        _, status = os.waitpid(shim, 0)
        assert os.waitstatus_to_exitcode(status) == 3


def test_it_ends_while_it_still_waits_for_its_host(server: str, tmp_path: Path) -> None:
    """mpiexec is most often cancelled when nothing seems to happen."""
    argv = [*parent_called("mpiexec", tmp_path), RSH, "-v", "silent", "true"]
    with running(argv, ready="shim", environment=environment_of(server)) as launcher:
        shim = int(launcher.ready_line.split()[1])
        until(lambda: "asking the session" in launcher.errors(), what="the request")
        launcher.process.kill()
        launcher.wait()
        until(lambda: not is_alive(shim), what="the shim's end")


def test_it_ends_with_its_launcher_without_pidfds_too(server: str, tmp_path: Path, python: str) -> None:
    """Python 3.6 has none."""
    argv = [*parent_called("orted", tmp_path), RSH, "host", "echo ready; exec sleep 1000"]
    with running(argv, ready="ready", environment=environment_of(server, python)) as launcher:
        shim = int(launcher.output().split("shim ")[1].split()[0])
        launcher.process.kill()
        launcher.wait()
        until(lambda: not is_alive(shim), what="the shim's end")


def test_by_hand_it_outlives_its_shell(server: str, tmp_path: Path) -> None:
    """`roujiamo-rsh host command &` and `exit` is a thing that ssh users do."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    argv = [*parent_called("bash", tmp_path), RSH, "host", f"echo ready; read x <{fifo}; echo late"]
    with running(argv, ready="ready", environment=environment_of(server)) as shell:
        shim = int(shell.output().split("shim ")[1].split()[0])
        shell.process.kill()
        shell.wait()
        fifo.write_text("go\n")
        until(lambda: shell.output().endswith("late\n"), what="the late output")
        until(lambda: not is_alive(shim), what="the shim's own end")


def test_f_detaches_it_from_its_launcher_too(server: str, tmp_path: Path) -> None:
    """Who says -f wants the command to go on without whoever started it."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    argv = [*parent_called("mpiexec", tmp_path), RSH, "-f", "host", f"echo ready; read x <{fifo}; echo late"]
    with running(argv, environment=environment_of(server)) as launcher:
        assert launcher.wait() == 0
        # The launcher may end before the first output has come.
        until(lambda: "ready\n" in launcher.output(), what="the first output")
        fifo.write_text("go\n")
        until(lambda: launcher.output().endswith("late\n"), what="the late output")


def test_a_launcher_behind_a_link_is_known_by_its_program(server: str, tmp_path: Path) -> None:
    """A site may call its mpiexec anything; /proc/PID/exe leads to the file."""
    real = tmp_path / "orterun"
    shutil.copy(os.path.realpath(sys.executable), real)
    (tmp_path / "launch").symlink_to(real)
    home = os.path.dirname(os.path.dirname(os.path.realpath(sys.executable)))
    argv = [str(tmp_path / "launch"), "-c", PARENT, RSH, "host", "echo ready; exec sleep 1000"]
    environment = {**environment_of(server), "PYTHONHOME": home}
    if subprocess.run([*argv[:2], "pass"], env=environment, capture_output=True, timeout=60).returncode:
        pytest.skip("this interpreter does not run as a copy")
    with running(argv, ready="ready", environment=environment) as launcher:
        shim = int(launcher.output().split("shim ")[1].split()[0])
        launcher.process.send_signal(signal.SIGKILL)
        launcher.wait()
        until(lambda: not is_alive(shim), what="the shim's end")


def test_scripts_between_it_and_its_launcher_change_nothing(server: str, tmp_path: Path, python: str) -> None:
    """Sites wrap agents in scripts; the one that ends first is not always the shim's parent."""
    wrapper = tmp_path / "agent.sh"
    wrapper.write_text(f'#!/bin/sh\n"{RSH}" "$@"\n:\n')
    wrapper.chmod(0o755)
    argv = [*parent_called("mpiexec", tmp_path), "sh", "-c", f'{wrapper} "$@"; :', "sh"]
    argv += ["host", f"echo $$ >{tmp_path}/pid; echo ready; exec sleep 1000"]
    with running(argv, ready="ready", environment=environment_of(server, python)) as launcher:
        launcher.process.kill()
        launcher.wait()
        until(lambda: not is_alive(int((tmp_path / "pid").read_text())), what="the command's end")


def test_a_pid_that_is_another_process_now_is_no_launcher() -> None:
    """A pid is only a number that is used again."""
    start = read_start(os.getpid())
    launcher = Launcher(os.getpid(), start)
    assert not launcher.is_gone()
    os.close(launcher.descriptor)
    assert Launcher(os.getpid(), start + 1).is_gone()
    assert Launcher(os.getpid(), start + 1).descriptor == -1
