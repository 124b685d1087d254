"""`roujiamo run` inside `roujiamo alloc`: on the hosts that are held, as srun in salloc, with no session of its own."""

import shlex
import sys

from tests.jobs.conftest import Bench
from tests.jobs.test_alloc import alloc

RUN = f"{shlex.quote(sys.executable)} -m roujiamo run"
WHERE = "sh -c 'sleep 0.5; echo in $MESOS_SANDBOX'"
SESSIONS = f"{shlex.quote(sys.executable)} -m roujiamo status --json | grep -c '^  *.session'"


def test_a_run_in_an_allocation_is_on_its_hosts(bench_of_each: Bench) -> None:
    """All of them, or as many as -N and -n say, one after another or at once; its status is mpiexec's."""
    failing = f"{RUN} -n 2 sh -c 'sleep 0.5; exit 3'"
    script = (
        f"{RUN} {WHERE}; echo --; {RUN} -N 1 {WHERE}; echo --; {RUN} -n 3 {WHERE} & {failing}; "
        f"status=$?; wait; echo --; {SESSIONS}; exit $status"
    )
    result = alloc(bench_of_each, "-N", "2", "-n", "4", "--master", "local", "--", "sh", "-c", script)
    assert result.status == 3, result.err
    whole, one, three, sessions = (part.split("\n") for part in result.out.strip().split("\n--\n"))
    assert (len(whole), len(set(whole))) == (4, 2), "two ranks in each of two tasks"
    assert (len(one), len(set(one))) == (2, 1)
    assert len(three) == 3
    assert set(one) | set(three) <= set(whole), "the allocation's tasks, and no others"
    assert sessions == ["1"]


def test_what_is_the_allocations_is_refused_in_it(bench: Bench) -> None:
    """One sentence each, before anything is started."""
    script = (
        f"{RUN} --dry-run true; {RUN} --mem 9 true; {RUN} -N 3 true; {RUN} -n 9 true; "
        # With a master of its own it has a session of its own.
        f"{RUN} --master local -n 1 --mem 99 sh -c 'sleep 0.5; echo there'; "
        f"ROUJIAMO_SOCKET=$PWD/gone/socket {RUN} true"
    )
    result = alloc(bench, "-N", "2", "-n", "4", "--master", "local", "--", "sh", "-c", script)
    assert (result.status, result.out) == (255, "there\n"), result.err
    dry, first, second, third, fourth = result.err.splitlines()
    assert dry.startswith("roujiamo: --dry-run: this is in an allocation")
    assert "--mem: that is the allocation's" in first
    assert second == "roujiamo: -N 3: the allocation has 2 hosts"
    assert third == "roujiamo: -n 9: these 2 hosts of the allocation have 4 slots"
    assert "the allocation that ROUJIAMO_SOCKET names has ended" in fourth


def test_a_run_that_is_killed_leaves_no_launcher_in_the_allocation(bench_of_each: Bench) -> None:
    """Neither ranks nor a folder, and the allocation goes on: the next run has the hosts."""
    rank = "sh -c 'echo $$ >rank.$OMPI_COMM_WORLD_RANK; exec sleep 1000'"
    script = (
        f"{RUN} -n 2 {rank} & wrapper=$!; "
        "until [ -s rank.0 ] && [ -s rank.1 ]; do sleep 0.1; done; "
        "kill -9 $wrapper; "
        "while kill -0 $(cat rank.0) || kill -0 $(cat rank.1); do sleep 0.1; done 2>/dev/null; "
        'while ls "${ROUJIAMO_SOCKET%/*}" | grep -q ^run-; do sleep 0.1; done; '
        f"rm rank.?; {RUN} -N 1 -n 1 sh -c 'sleep 0.5; echo on'"
    )
    result = alloc(bench_of_each, "-N", "2", "-n", "2", "--master", "local", "--", "sh", "-c", script)
    assert (result.status, result.out) == (0, "on\n"), result.err
