"""`roujiamo alloc`: hosts for a command, and plain mpiexecs in it."""

import json
import os
import pty
import sys
from pathlib import Path

import pytest

from tests.jobs.conftest import MARKER, ROOT, Bench, Result
from tests.support import running, until


def alloc(bench: Bench, *arguments: str, stdin: str = "") -> Result:
    """Run `roujiamo alloc` to its end, with the bench's MPI on PATH."""
    assert bench.mpi is not None
    return bench.alloc(*arguments, stdin=stdin, path=os.path.dirname(bench.mpi.mpiexec))


MOMENT = "sleep 1.$OMPI_COMM_WORLD_RANK"


def test_plain_mpiexecs_run_one_after_another_and_at_once(bench_of_each: Bench, master: str) -> None:
    """No option of ours, no path: what a script has that knows nothing of Mesos."""
    rank = f"sh -c 'echo in $MESOS_SANDBOX; {MOMENT}'"
    script = f"mpiexec {rank}; mpiexec -n 3 {rank} & mpiexec -n 4 {rank} & wait; exit 7"
    result = alloc(bench_of_each, "-N", "2", "-n", "4", "--master", master, "--", "sh", "-c", script)
    assert result.status == 7, result.err
    ran = result.out.split("\n")[:-1]
    assert len(ran) == 4 + 3 + 4
    assert len(set(ran)) == 2, "two hosts, and each rank in one of their tasks"


def test_the_hosts_are_told_in_the_forms_that_tools_expect(bench: Bench) -> None:
    """A file with the host first on each line, a list, the slots; and the shim answers to the names."""
    script = (
        'cat "$ROUJIAMO_HOSTFILE"; '
        'echo "$ROUJIAMO_HOSTS $ROUJIAMO_NUM_HOSTS $ROUJIAMO_SLOTS $ROUJIAMO_SLOTS_PER_HOST"; '
        "for host in $(cut -d ' ' -f 1 \"$ROUJIAMO_HOSTFILE\"); do roujiamo-rsh $host hostname; done"
    )
    result = alloc(bench, "-N", "2", "-n", "5", "--master", "local", "--", "sh", "-c", script)
    first, second = (line.split()[0] for line in result.out.splitlines()[:2])
    assert {first, second} == {"agent1", "agent2"}
    assert result.out.splitlines() == [
        f"{first} slots=3",
        f"{second} slots=2",
        f"{first},{second} 2 5 3,2",
        first,
        second,
    ]


def test_without_a_command_it_is_the_users_shell(bench: Bench) -> None:
    """In a pipe the shell reads its commands there, and nothing of ours is said."""
    bench.environment["SHELL"] = "/bin/sh"
    result = alloc(
        bench, "--host", "agent1", "--master", "local", stdin="roujiamo-rsh agent1 'echo there'; exit 4\n"
    )
    assert (result.status, result.out, result.err) == (4, "there\n", "")


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [(["no-such-command"], 127, "no command no-such-command"), (["./plain"], 126, "cannot be executed")],
)
def test_a_command_that_cannot_run_is_told_before_anything_is_allocated(
    bench: Bench, command: list[str], status: int, words: str
) -> None:
    """The statuses are a shell's."""
    plain = bench.folder / "plain"
    plain.write_text("")
    result = alloc(bench, "--master", "127.0.0.1:1", "--", *command)
    plain.unlink()
    assert (result.status, result.out) == (status, "")
    assert words in result.err


def test_ctrl_c_in_its_terminal_is_the_commands_matter(bench: Bench) -> None:
    """A shell with the hosts must outlive Ctrl-C, as under salloc."""
    ours, theirs = pty.openpty()
    line = [sys.executable, "-m", "roujiamo", "alloc", "-N", "2", "--master", "local"]
    line += [
        "--env",
        f"{MARKER}={bench.mark}",
        "--",
        "sh",
        "-c",
        "trap 'echo caught' INT; echo up; read x || read x; echo $x",
    ]
    try:
        with running(
            line,
            environment={**bench.environment, "PYTHONPATH": str(ROOT)},
            cwd=bench.folder,
            ready="up",
            stdin=theirs,
            start_new_session=True,
            preexec_fn=lambda: _take_terminal(0),
        ) as program:
            os.write(ours, b"\x03")
            program.wait_for_line("caught")
            os.write(ours, b"on\n")
            program.wait_for_line("on")
            assert program.wait() == 0
    finally:
        os.close(ours)
        os.close(theirs)


def _take_terminal(descriptor: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)


def test_a_terminated_allocation_ends_its_command_and_leaves_nothing(bench: Bench) -> None:
    """`kill` of it means all of it."""
    up = bench.folder / "up"
    line = [sys.executable, "-m", "roujiamo", "alloc", "--master", "local", "--env", f"{MARKER}={bench.mark}"]
    with running(
        [*line, "--", "sh", "-c", f"touch {up}; exec sleep 60"],
        environment={**bench.environment, "PYTHONPATH": str(ROOT)},
        cwd=bench.folder,
    ) as program:
        until(Path(up).exists, 30, "the command")
        program.process.terminate()
        assert program.wait(40) in (143, -15)
    up.unlink()


def test_a_timeline_shows_what_happened_on_each_host(bench: Bench) -> None:
    """`--timeline FILE`: every host with each of its moments, and the commands that ran there."""
    file = bench.folder / "launch.json"
    script = "for host in $(echo $ROUJIAMO_HOSTS | tr , ' '); do roujiamo-rsh $host 'exit 3'; done"
    arguments = ("-N", "2", "--timeline", str(file), "--master", "local", "--", "sh", "-c", script)
    assert alloc(bench, *arguments).status == 3
    events = json.loads(file.read_text())["traceEvents"]
    file.unlink()
    phases = [each["name"] for each in events if each["ph"] == "X" and each["pid"] == 1]
    assert phases == ["start", "subscribe", "offers", "tasks", "call-backs", "start of sh", "sh", "end"]
    ready = [each for each in events if each["name"] == "host is there"]
    moments = {"offered", "accepted", "starting", "running", "called back", "ready", "ended"}
    assert [moments <= each["args"].keys() for each in ready] == [True, True]
    assert sum(each["name"] == "exit 3" for each in events) == 2


def test_a_timeline_that_cannot_be_written_is_refused_at_once(bench: Bench) -> None:
    """Not after the job has run."""
    for name, words in (("t.png", "neither with .json"), ("gone/t.svg", "there is no folder")):
        result = alloc(bench, "--timeline", name, "--master", "127.0.0.1:9", "--", "true")
        assert (result.status, words in result.err) == (2, True), result.err
