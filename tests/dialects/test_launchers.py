"""What the dialects say, held against the real launchers."""

import socket
from collections import Counter
from pathlib import Path

import pytest

from tests.dialects.conftest import Bench
from tests.support import running


def test_each_host_gets_its_slots_and_nothing_private_leaks(bench: Bench) -> None:
    """The hostfile's numbers hold, and a rank's variables are the task's."""
    lines = bench.run(bench.plan(2, 1, 1), "-n", "4", PRIVATE="a secret", FROM_THE_TASK="here")
    assert lines == {
        "on 198.51.100.1, task, nothing private": 2,
        "on 198.51.100.2, task, nothing private": 1,
        "on 198.51.100.3, task, nothing private": 1,
    }


@pytest.mark.parametrize("slots", [(2, 2), (2, 1)])
def test_variables_alone_are_enough_for_the_placement(bench: Bench, slots: tuple[int, ...]) -> None:
    """In an allocation the user calls a plain mpiexec, of any MPI."""
    lines = bench.run(bench.plan(*slots), "-n", str(sum(slots)), anybodys=True)
    hosts = Counter(line.partition(",")[0] for line in lines.elements())
    assert hosts == {"on 198.51.100.1": slots[0], "on 198.51.100.2": slots[1]}


def test_no_rank_runs_on_the_launch_host_by_itself(bench: Bench) -> None:
    """Even where it is named: the agent is asked for it, or nothing runs (open-mpi/ompi issue 13154)."""
    own = socket.gethostname()
    option = "-H" if bench.dialect.name.startswith("Open MPI") else "-hosts"
    lines = bench.run(bench.plan(2, 1), option, own, "-n", "1", anybodys=True)
    assert {line.partition(",")[0] for line in lines} <= {f"on {own}"}


def test_a_job_of_another_resource_manager_around_it_changes_nothing(bench: Bench) -> None:
    """Inside `salloc` an Open MPI would take that one's hosts, and find none of ours among them."""
    slurm = {
        "SLURM_JOBID": "7",
        "SLURM_JOB_ID": "7",
        "SLURM_NODELIST": "foo1",
        "SLURM_JOB_NODELIST": "foo1",
        "SLURM_TASKS_PER_NODE": "2",
        "SLURM_NNODES": "1",
    }
    lines = bench.run(bench.plan(1, 1), "-n", "2", **slurm)
    assert sorted(line.partition(",")[0] for line in lines) == ["on 198.51.100.1", "on 198.51.100.2"]


def test_a_dvm_has_its_daemons_on_the_hosts(bench: Bench) -> None:
    """`prte` keeps them for many launches; each is started through the agent, and all end with it."""
    prte = Path(bench.mpiexec).parent / "prte"
    if bench.dialect.name != "Open MPI 5" or not prte.exists():
        pytest.skip("only Open MPI 5 has prte")
    prefix = str(prte.parent.parent)
    variables = dict.fromkeys(("PRTE_PREFIX", "PMIX_PREFIX", "OPAL_PREFIX"), prefix)
    root = {"PRTE_ALLOW_RUN_AS_ROOT": "1", "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    environment = bench.environment(bench.plan(2, 1), **variables, **root)
    with running([prte], environment=environment, ready="DVM ready", cwd=bench.folder) as program:
        assert sorted(path.name for path in bench.folder.glob("198.51.100.*")) == [
            "198.51.100.1",
            "198.51.100.2",
        ]
        program.process.terminate()
        program.wait()
