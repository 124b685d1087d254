"""What the dialects say, held against the real launchers, with an agent that runs each command on this machine.

The agent writes down which host it was asked for, and the host is in the environment of what it starts, so a rank that
no agent has started is seen by what it lacks.
"""

import os
import socket
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from roujiamo import dialects
from roujiamo.dialects import Dialect, LaunchHost, LaunchPlan
from tests.support import mpi_environment, mpiexecs, scaled

AGENT = """\
#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
host=$1
shift
# Daemons under one hostname make the same folder there, and one of them fails when they do so in one instant.
mkdir -p "${0%%/*}/$host"
exec env -i HOME=/tmp TMPDIR="${0%%/*}/$host" PATH="$PATH" AGENT_HOST="$host" FROM_THE_TASK=task %s sh -c "$*"
"""
# prterun 5.0.11 hangs now and then where all ranks end within a moment of their start.
RANK = 'echo "on ${AGENT_HOST:-the launch host}, $FROM_THE_TASK, ${PRIVATE:-nothing private}"; sleep 1.$PPID'


@dataclass
class Bench:
    """One launcher with an agent on its PATH."""

    folder: Path
    mpiexec: str
    dialect: Dialect

    def run(self, plan: LaunchPlan, *words: str, anybodys: bool = False, **variables: str) -> Counter[str]:
        """Run ranks; return their lines. `anybodys`: as in an allocation, for any MPI and with no argument of ours."""
        for name, text in dialects.hostfiles(plan.hosts).items():
            (self.folder / name).write_text(text)
        settings = dialects.environment_of_all(plan) if anybodys else self.dialect.environment(plan)
        arguments = [] if anybodys else self.dialect.arguments(plan)
        environment = {**os.environ, **mpi_environment(), **settings, **variables}
        environment["PATH"] = f"{self.folder}:{os.environ['PATH']}"
        process = subprocess.Popen(
            [self.mpiexec, *arguments, *words, "sh", "-c", RANK],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=self.folder,
        )
        try:
            out, _ = process.communicate(timeout=scaled(60))
        finally:
            # prterun heeds no other signal while its agents are pending.
            process.kill()
        return Counter(out.splitlines())

    def plan(self, *slots: int) -> LaunchPlan:
        hosts = [LaunchHost(f"198.51.100.{n}", each) for n, each in enumerate(slots, 1)]
        return LaunchPlan(hosts=hosts, folder=str(self.folder))


@pytest.fixture(params=mpiexecs() or [None], ids=lambda path: Path(path).parts[-3] if path else "none")
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """A bench with each mpiexec there is."""
    if request.param is None:
        pytest.skip("no MPI on this machine (bin/test brings some, ROUJIAMO_TEST_MPIEXECS names them)")
    answer = subprocess.run([request.param, "--version"], capture_output=True, text=True, timeout=scaled(30))
    dialect = dialects.find(answer.stdout)
    assert dialect is not None
    agent = tmp_path / dialects.AGENT
    root = " ".join(f"{name}={value}" for name, value in mpi_environment().items())
    agent.write_text(AGENT % root)
    agent.chmod(0o755)
    return Bench(tmp_path, request.param, dialect)


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
