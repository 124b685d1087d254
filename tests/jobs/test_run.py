"""`ompirun.sh`: what a job prints, how it ends, and that nothing of it stays."""

import os
import re
import signal
import sys
from collections import Counter

import pytest

from tests.jobs.conftest import ROOT, Bench
from tests.support import until

HELLO = [sys.executable, str(ROOT / "roujiamo" / "examples" / "hello.py")]
# Prints one line a rank. MPI's own start-up is not needed to see where ranks run.
WHERE = ["sh", "-c", 'echo "rank $OMPI_COMM_WORLD_RANK on $(hostname) in $MESOS_SANDBOX"']


def hosts_of(out: str) -> Counter[str]:
    return Counter(re.findall(r"^rank \d+ (?:of \d+ )?on ([^ ,]+)", out, re.MULTILINE))


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
    program = 'test "$OMPI_COMM_WORLD_RANK" != 1 || exit 3'
    assert bench_of_each.ompirun("-N", "2", "-n", "4", master, "sh", "-c", program).status == 3


def test_stdin_reaches_rank_0(bench_of_each: Bench) -> None:
    """`echo hi | ompirun.sh … cat` prints hi."""
    # prterun 5.0.11 never closes a rank's stdin (plain `echo hi | mpiexec -n 1 cat` hangs too): read two lines there.
    two_lines = ["sh", "-c", 'test "$OMPI_COMM_WORLD_RANK" != 0 || head -n 2']
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
    program = 'echo "$CHOSEN|$GIVEN|$PRIVATE|$USER"'
    options = ["-N", "2", "-n", "2", "--env", "CHOSEN", "--env", "GIVEN=a value"]
    # The second host: ranks beside mpiexec would have its environment.
    result = bench.ompirun(*options, "local", "sh", "-c", program)
    assert result.status == 0, result.err
    assert set(result.out.splitlines()) == {"taken from here|a value||root"} or os.geteuid() != 0


def test_a_hundred_lines_a_rank_arrive_whole(bench: Bench) -> None:
    """Nothing of the output is lost when the session ends behind it."""
    result = bench.ompirun("-N", "2", "-n", "2", "local", "sh", "-c", "seq 1 100")
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
