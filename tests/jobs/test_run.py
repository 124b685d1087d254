"""`ompirun.sh`: what a job prints, how it ends, and that nothing of it stays."""

import contextlib
import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections import Counter
from pathlib import Path

import pytest

from tests.jobs.conftest import MARKER, ROOT, Bench
from tests.support import children_of, running, state_of, until

HELLO = [sys.executable, str(ROOT / "roujiamo" / "examples" / "hello.py")]
# prterun 5.0.11 hangs now and then where all ranks end within a moment of their start, with any rsh agent.
A_MOMENT = "sleep 1.$OMPI_COMM_WORLD_RANK"
# Prints one line a rank. MPI's own start-up is not needed to see where ranks run.
WHERE = ["sh", "-c", f'echo "rank $OMPI_COMM_WORLD_RANK on $(hostname) in $MESOS_SANDBOX"; {A_MOMENT}']


def hosts_of(out: str) -> Counter[str]:
    return Counter(re.findall(r"^rank \d+ (?:of \d+ )?on ([^ ,\n]+)", out, re.MULTILINE))


def test_mpi_ranks_talk_from_two_hosts(bench_of_each: Bench, master: str) -> None:
    """The main job: an unmodified MPI program, started by a stock Open MPI, in tasks of Mesos."""
    result = bench_of_each.ompirun("-N", "2", "-n", "4", master, *HELLO)
    assert result.status == 0, result.err
    assert sorted(hosts_of(result.out).values()) == [2, 2]
    assert result.out.count("all ranks add up to 6") == 4
    assert result.out.count("in Mesos task") == 4
    assert "roujiamo" not in result.err, "silent when all is well"


def test_an_uneven_split_gives_every_process_a_slot(bench_of_each: Bench, master: str) -> None:
    """8 processes over 3 hosts are 3, 3 and 2."""
    result = bench_of_each.ompirun("-N", "3", "-n", "8", master, *WHERE)
    assert result.status == 0, result.err
    assert sorted(hosts_of(result.out).values()) == [2, 3, 3]


def test_a_rank_that_exits_3_makes_the_run_exit_3(bench_of_each: Bench, master: str) -> None:
    """The status is mpiexec's, which is the failed rank's."""
    program = f'{A_MOMENT}; test "$OMPI_COMM_WORLD_RANK" != 1 || exit 3'
    assert bench_of_each.ompirun("-N", "2", "-n", "4", master, "sh", "-c", program).status == 3


def test_stdin_reaches_rank_0(bench_of_each: Bench) -> None:
    """`echo hi | ompirun.sh … cat` prints hi."""
    # prterun 5.0.11 never closes a rank's stdin (plain `echo hi | mpiexec -n 1 cat` hangs too): read two lines there.
    two_lines = ["sh", "-c", f'test "$OMPI_COMM_WORLD_RANK" != 0 || head -n 2; {A_MOMENT}']
    program = ["cat"] if bench_of_each.mpi and bench_of_each.mpi.major == 4 else two_lines
    result = bench_of_each.ompirun("-N", "2", "-n", "2", "local", *program, stdin="first\nlast\n")
    assert (result.status, result.out) == (0, "first\nlast\n"), result.err


def test_a_missing_program_fails_as_under_mpiexec(bench_of_each: Bench) -> None:
    """mpiexec knows best what to say; its status is passed on."""
    result = bench_of_each.ompirun("-N", "2", "-n", "2", "local", "/no/such/program")
    assert result.status not in (0, 255)
    assert "/no/such/program" in result.err


def test_chosen_variables_reach_the_ranks_and_others_do_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--env NAME takes the value from here, NAME=VALUE gives one; nothing else leaks into the tasks."""
    monkeypatch.setenv("CHOSEN", "taken from here")
    monkeypatch.setenv("PRIVATE", "stays here")
    program = f'echo "$CHOSEN|$GIVEN|$PRIVATE|$USER"; {A_MOMENT}'
    options = ["-N", "2", "-n", "2", "--env", "CHOSEN", "--env", "GIVEN=a value"]
    # The second host: ranks beside mpiexec would have its environment.
    result = bench.ompirun(*options, "local", "sh", "-c", program)
    assert result.status == 0, result.err
    assert set(result.out.splitlines()) == {"taken from here|a value||root"} or os.geteuid() != 0


def test_a_hundred_lines_a_rank_arrive_whole(bench: Bench) -> None:
    """Nothing of the output is lost when the session ends behind it."""
    result = bench.ompirun("-N", "2", "-n", "2", "local", "sh", "-c", f"seq 1 100; {A_MOMENT}")
    assert Counter(result.out.split()) == Counter([str(n) for n in range(1, 101)] * 2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_half_way_ends_everything(bench: Bench, master: str, number: signal.Signals) -> None:
    """Whoever stops the run stops the job; the status tells which signal it was, or that the job was aborted."""
    with bench.started("-N", "2", "-n", "4", master, "sh", "-c", "echo started; sleep 100") as run:
        until(lambda: run.output().count("started") == 4, 60, "four ranks")
        os.kill(run.pid, number)
        assert run.wait(40) != 0


def test_killing_the_wrapper_ends_everything(bench: Bench, master: str) -> None:
    """kill -9 leaves no time for a farewell: the broker sees that its owner is gone."""
    with bench.started("-N", "2", "-n", "4", master, "sh", "-c", "echo started; sleep 100") as run:
        until(lambda: run.output().count("started") == 4, 60, "four ranks")
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        bench.assert_nothing_left()


def launcher_of(pid: int) -> int:
    """The mpiexec that a run has started."""
    for child in children_of(pid):
        with contextlib.suppress(OSError):
            name = Path(f"/proc/{child}/comm").read_text().strip()
            if name in ("mpiexec", "orterun", "prterun", "prterun_wrapper", "orterun_wrapper"):
                return child
    raise AssertionError("no launcher among the children")


def test_a_killed_launcher_ends_everything(bench_of_each: Bench) -> None:
    """The daemons lose their parent; the session ends with the run."""
    with bench_of_each.started("-N", "2", "-n", "4", "local", "sh", "-c", "echo started; sleep 100") as run:
        until(lambda: run.output().count("started") == 4, 60, "four ranks")
        os.kill(launcher_of(run.pid), signal.SIGKILL)
        assert run.wait(40) == 137


def test_a_killed_daemon_ends_the_run_with_a_failure(bench_of_each: Bench, master: str) -> None:
    """Losing one host's daemon is the end of the job, never a hang and never a success."""
    with bench_of_each.started("-N", "2", "-n", "4", master, "sh", "-c", "echo started; sleep 100") as run:
        until(lambda: run.output().count("started") == 4, 60, "four ranks")
        daemons = [
            int(left.split()[0])
            for left in bench_of_each.left_processes()
            if re.search(r"/(orted|prted)\b", left)
        ]
        os.kill(max(daemons), signal.SIGKILL)
        status = run.wait(60)
        told = run.errors()
    # prterun 5.0.11 says that it has lost a daemon, and exits 0 all the same.
    assert status != 0 or (bench_of_each.mpi and bench_of_each.mpi.major == 5)
    assert "lost communication" in told


def in_terminal(bench: Bench, *arguments: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start the command in a terminal of its own; return it and the terminal's other end."""
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [ROOT / "bin" / "ompirun.sh", "--env", f"{MARKER}={bench.mark}", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, **bench.environment, "TERM": "xterm"},
        cwd=bench.folder,
        start_new_session=True,
        preexec_fn=take_terminal,
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    return process, ours


class Screen:
    """All that has been written to a terminal."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.text = ""

    def read(self) -> str:
        with contextlib.suppress(OSError):
            while piece := os.read(self._descriptor, 65536):
                self.text += piece.decode("utf-8", "replace")
        return self.text


@pytest.mark.parametrize("keys", [b"\x03", b"\x1c"], ids=["ctrl-c", "ctrl-backslash"])
def test_keys_of_a_terminal_stop_the_job(bench_of_each: Bench, keys: bytes) -> None:
    """The terminal tells mpiexec and the run at once; the status is not 0, and nothing is left."""
    process, descriptor = in_terminal(
        bench_of_each, "-N", "2", "-n", "4", "local", "sh", "-c", "echo started; sleep 100"
    )
    screen = Screen(descriptor)
    try:
        until(lambda: screen.read().count("started") == 4, 60, "four ranks")
        assert "waiting for offers" in screen.text, "the live line of a terminal"
        os.write(descriptor, keys)
        assert until(lambda: (process.poll() is not None and process.returncode) or None, 40, "its end") != 0
    finally:
        process.kill()
        process.wait()
        screen.read()
        os.close(descriptor)


def test_ctrl_c_before_the_hosts_are_there_gives_130_at_once(bench: Bench) -> None:
    """Nothing was started, and the wait for hosts does not hold the user."""
    process, descriptor = in_terminal(bench, "-n", "500", "local", "true")
    screen = Screen(descriptor)
    try:
        until(lambda: "500 are needed" in screen.read(), 60, "the reason of the wait")
        os.write(descriptor, b"\x03")
        until(lambda: process.poll() is not None, 30, "its end")
        assert process.returncode == 130, screen.read()
    finally:
        process.kill()
        process.wait()
        screen.read()
        os.close(descriptor)


def test_ctrl_z_stops_the_run_and_not_the_session(bench: Bench) -> None:
    """The broker keeps the hosts while the user does something else, and the job goes on afterwards."""
    process, descriptor = in_terminal(
        bench, "-N", "2", "-n", "2", "local", "sh", "-c", "echo started; sleep 3; echo finished"
    )
    screen = Screen(descriptor)
    try:
        until(lambda: screen.read().count("started") == 2, 60, "two ranks")
        broker = next(
            child
            for child in children_of(process.pid)
            if b"roujiamo.broker" in Path(f"/proc/{child}/cmdline").read_bytes()
        )
        # What Ctrl-Z does to a shell's job; a terminal's own stop does nothing to a group without a shell (POSIX).
        os.killpg(process.pid, signal.SIGSTOP)
        until(lambda: state_of(process.pid) == "T", 10, "the run's stop")
        assert state_of(broker) in ("S", "R")
        os.killpg(process.pid, signal.SIGCONT)
        assert until(lambda: process.poll() is not None, 40, "its end")
        assert process.returncode == 0
        assert screen.read().count("finished") == 2
    finally:
        process.kill()
        process.wait()
        screen.read()
        os.close(descriptor)


def test_a_program_brought_by_uri_runs_on_every_host(bench: Bench, master: str, tmp_path: Path) -> None:
    """No shared filesystem is needed: the fetcher brings the program into each task's sandbox."""
    program = tmp_path / "brought"
    program.write_text(f'#!/bin/sh\necho "rank $OMPI_COMM_WORLD_RANK on $(hostname)"; {A_MOMENT}\n')
    result = bench.ompirun(
        "-N", "2", "-n", "2", "--uri", str(program), master, "sh", "-c", "exec $MESOS_SANDBOX/brought"
    )
    assert result.status == 0, result.err
    assert sorted(hosts_of(result.out).values()) == [1, 1]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores to see a binding")
def test_ranks_are_bound_to_cores_only_when_the_agents_are_theirs_alone(bench_of_each: Bench) -> None:
    """Two jobs on one agent would share the first cores otherwise."""
    program = ["sh", "-c", f"grep Cpus_allowed_list: /proc/self/status; {A_MOMENT}"]
    shared = bench_of_each.ompirun("-N", "2", "-n", "2", "local", *program)
    alone = bench_of_each.ompirun("-N", "2", "-n", "2", "--exclusive", "local", *program)
    assert (shared.status, alone.status) == (0, 0), shared.err + alone.err
    every = Path("/proc/self/status").read_text().partition("Cpus_allowed_list:")[2].split()[0]
    assert [line.split()[1] for line in shared.out.splitlines()] == [every, every]
    assert all(line.split()[1] != every for line in alone.out.splitlines())


def test_a_hang_up_that_the_caller_ignores_is_ignored(bench: Bench) -> None:
    """`nohup ompirun.sh … &` outlives the terminal."""
    program = ["sh", "-c", f"echo started; sleep 2; echo finished; {A_MOMENT}"]
    line = [
        "nohup",
        str(ROOT / "bin" / "ompirun.sh"),
        "--env",
        f"{MARKER}={bench.mark}",
        "-N",
        "2",
        "-n",
        "2",
        "local",
    ]
    with running([*line, *program], environment=bench.environment, cwd=bench.folder) as run:
        until(lambda: run.output().count("started") == 2, 60, "two ranks")
        os.kill(run.pid, signal.SIGHUP)
        assert run.wait(40) == 0
        assert run.output().count("finished") == 2


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_closed_standard_streams_do_no_harm(bench: Bench, closed: str) -> None:
    """Daemons and some schedulers start programs that way."""
    command = f'exec "$0" --env "{MARKER}=$1" -N 2 -n 2 local sh -c \'echo fine; {A_MOMENT}\' {closed}'
    done = subprocess.run(
        ["sh", "-c", command, ROOT / "bin" / "ompirun.sh", bench.mark],
        stdout=subprocess.PIPE,
        env={**os.environ, **bench.environment},
        cwd=bench.folder,
        timeout=90,
    )
    assert (done.returncode, done.stdout) == (0, b"fine\nfine\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda one: one.name)
def test_an_mpiexec_that_never_says_its_version_can_be_interrupted(
    bench: Bench, number: signal.Signals
) -> None:
    """The hosts are there long before, and nothing else would tell: a signal ends the run and gives them back."""
    mpiexec = bench.folder / "mpiexec"
    mpiexec.write_text("#!/bin/sh\nexec sleep 600\n")
    mpiexec.chmod(0o755)
    words = ("-v", "-N", "2", "-n", "2", "--mpiexec", str(mpiexec), "local", "true")
    with bench.started(*words) as job:
        until(lambda: job.errors().count("is ready") == 2, 60, "the hosts")
        # One that is for the ranks, of which there are none yet, and one that wants the end.
        job.process.send_signal(signal.SIGUSR1)
        job.process.send_signal(number)
        assert job.wait(30) == 128 + number, job.errors()
        assert f"interrupted by {number.name}; nothing was started" in job.errors()
    mpiexec.unlink()


@pytest.mark.parametrize("program", [["sleep", "2"], ["true"]], ids=["seen", "too short to be seen"])
def test_ranks_outside_the_tasks_are_no_success(bench_of_each: Bench, program: list[str]) -> None:
    """A script around mpiexec that names this machine undoes our settings: Mesos never saw those ranks."""
    assert bench_of_each.mpi is not None
    script = bench_of_each.folder / "mpiexec"
    mpiexec = bench_of_each.mpi.mpiexec
    script.write_text(
        f'#!/bin/sh\ntest "$1" != --version || exec {mpiexec} --version\nexec {mpiexec} -H localhost:2 "$@"\n'
    )
    script.chmod(0o755)
    result = bench_of_each.ompirun("-N", "2", "-n", "2", "--mpiexec", str(script), "local", *program)
    script.unlink()
    # Where the launcher itself refuses to run them there, all the better.
    assert result.status != 0
    assert "outside" in result.err or "already filled" in result.err, result.err


def test_a_success_whose_daemon_fails_a_moment_later_is_none(bench: Bench) -> None:
    """Open MPI 4 says 0 where it lost the way to its daemons (stopped and continued before they had called home)."""
    mpiexec, up, gone = (bench.folder / name for name in ("mpiexec", "up", "gone"))
    daemon = f"echo up; until test -e {gone}; do sleep 0.05; done; exit 1; orted"
    mpiexec.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --version ] && echo "mpiexec (OpenRTE) 4.1.8" && exit\n'
        f'roujiamo-rsh agent1 "{daemon}" >{up} &\n'
        f"until test -s {up} || ! kill -0 $!; do sleep 0.05; done\n"
        f"touch {gone}\n"
    )
    mpiexec.chmod(0o755)
    result = bench.ompirun("-n", "1", "--host", "agent1", "--mpiexec", str(mpiexec), "local", "true")
    for path in (mpiexec, up, gone):
        path.unlink()
    assert result.status == 1
    assert "orted on agent1 ended with status 1" in result.err
    assert "cannot be trusted" in result.err


def test_an_mpiexec_of_no_known_mpi_is_told_the_hosts_all_the_same(bench: Bench) -> None:
    """It may read one of the forms that there are: here the hostfile; the warning says what it calls itself."""
    mpiexec = bench.folder / "other-mpiexec"
    mpiexec.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --version ] && echo "Other MPI 1.0" && exit\n'
        'echo "$1 $2, slots $ROUJIAMO_SLOTS_PER_HOST of $ROUJIAMO_SLOTS"\n'
        "shift 2\n"
        'for host in $(cut -d " " -f 1 "$ROUJIAMO_HOSTFILE"); do roujiamo-rsh "$host" "$@"; done\n'
    )
    mpiexec.chmod(0o755)
    result = bench.ompirun("-N", "2", "-n", "3", "--mpiexec", str(mpiexec), "local", "hostname")
    mpiexec.unlink()
    assert result.status == 0, result.err
    first, *hosts = result.out.splitlines()
    assert (first, sorted(hosts)) == ("-n 3, slots 2,1 of 3", ["agent1", "agent2"])
    assert "is of no MPI that roujiamo knows" in result.err
    assert "'Other MPI 1.0'" in result.err
