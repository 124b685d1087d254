"""The real launchers, with an agent that runs each command on this machine.

The host that the agent was asked for is in the environment of what it starts, so a rank that no agent has started is
seen by what it lacks.
"""

import os
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from roujiamo import dialects
from roujiamo.dialects import Dialect, LaunchHost, LaunchPlan
from tests.support import mpi_environment, mpis, scaled

AGENT = """\
#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
host=$1
shift
# Daemons under one hostname make the same folder there, and one of them fails when they do so in one instant.
mkdir -p "${0%%/*}/$host"
exec env -i HOME=/tmp TMPDIR="${0%%/*}/$host" PATH="$PATH" AGENT_HOST="$host" FROM_THE_TASK=task %s \\
    %s sh -c "$*"
"""
# prterun 5.0.11 hangs now and then where all ranks end within a moment of their start.
RANK = 'echo "on ${AGENT_HOST:-the launch host}, $FROM_THE_TASK, ${PRIVATE:-nothing private}"; sleep 1.$PPID'


@dataclass
class Bench:
    """One launcher with an agent on its PATH."""

    folder: Path
    mpiexec: str
    dialect: Dialect
    # What runs the launcher where it is to run, if that is not here.
    around: tuple[str, ...] = ()

    def write_agent(self, around: str = "") -> None:
        """Make the agent; `around`: what runs a command on the host $host, if that is not here."""
        agent = self.folder / dialects.AGENT
        root = " ".join(f"{name}={value}" for name, value in mpi_environment().items())
        agent.write_text(AGENT % (root, around))
        agent.chmod(0o755)

    def environment(self, plan: LaunchPlan, anybodys: bool = False, **variables: str) -> dict[str, str]:
        """What the launcher is started with, `variables` included; its hostfiles are there then."""
        for name, text in dialects.hostfiles(plan.hosts).items():
            (self.folder / name).write_text(text)
        settings = dialects.environment_of_all(plan) if anybodys else self.dialect.environment(plan)
        path = f"{self.folder}:{os.environ['PATH']}"
        return {**os.environ, **mpi_environment(), **settings, **variables, "PATH": path}

    def run(self, plan: LaunchPlan, *words: str, anybodys: bool = False, **variables: str) -> Counter[str]:
        """Run ranks; return their lines. `anybodys`: as in an allocation, for any MPI and with no argument of ours."""
        arguments = [] if anybodys else self.dialect.arguments(plan)
        environment = self.environment(plan, anybodys, **variables)
        process = subprocess.Popen(
            [*self.around, self.mpiexec, *arguments, *words, "sh", "-c", RANK],
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


@pytest.fixture(params=mpis() or [None], ids=lambda mpi: f"{mpi.name} {mpi.version}" if mpi else "none")
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """A bench with each MPI there is."""
    if request.param is None:
        pytest.skip("no MPI on this machine (bin/test brings some, ROUJIAMO_TEST_MPIEXECS names them)")
    bench = Bench(tmp_path, request.param.mpiexec, request.param.dialect)
    bench.write_agent()
    return bench
