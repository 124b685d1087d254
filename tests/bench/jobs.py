"""Jobs: mpiexec over many hosts through roujiamo, through ssh, and through an agent that does next to nothing.

Imported by the benchmarks only. The last is the floor: it only enters the host's namespace, so what it takes is what
mpiexec and its daemons take. All three have the same machine: see `evenness`.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from tests.bench.costs import cpu_of_machine, run
from tests.bench.evenness import have_memory, one_group
from tests.bench.figures import Result, alternate, ratio
from tests.bench.places import Ground, ground, held, sshds, why_no_sshd
from tests.support import OpenMpi, open_mpis
from tests.support.tools import ROOT

_HELLO = """\
#include <mpi.h>
int main(int argc, char **argv) { MPI_Init(&argc, &argv); MPI_Finalize(); return 0; }
"""


# What a host takes at most: daemon, rank, their files, and what starts them.
MEMORY_OF_HOST = 24 << 20


class JobCost(NamedTuple):
    """Seconds on the clock, and of CPU of the whole machine meanwhile."""

    wall: float
    cpu: float


def sixteen_hosts(small: bool) -> Result:
    """One rank on each of 16 hosts."""
    return _job(2 if small else 16, 1 if small else 9)


def sixty_four_hosts(small: bool) -> Result:
    """One rank on each of 64 hosts."""
    return _job(2 if small else 64, 1 if small else 5)


def _job(hosts: int, rounds: int) -> Result:
    result = Result()
    if not open_mpis():
        result.skipped = "no Open MPI here (ROUJIAMO_TEST_OPENMPI names one)"
        return result
    reason = why_no_sshd()
    if reason is not None:
        result.skipped = f"hosts to compare need namespaces and sshd: {reason}"
        return result
    mpi = open_mpis()[0]
    with ExitStack() as stack:
        trouble = stack.enter_context(one_group())
        if trouble:
            result.notes.append(f"sessions are scheduled apart: {trouble}")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rj-jobs-")))
        program = _hello(mpi, folder, result)
        place = stack.enter_context(ground(hosts))
        session = stack.enter_context(held(place, hosts))
        ssh = stack.enter_context(sshds(place, hosts))
        plain = {**place.environment, "PATH": f"{os.path.dirname(mpi.mpiexec)}:{os.environ['PATH']}"}
        ours = {
            **session.environment,
            "PATH": f"{session.environment['PATH']}:{os.path.dirname(mpi.mpiexec)}",
        }
        start = [*place.launch, mpi.mpiexec]
        addresses = ",".join(place.address(number) for number in range(1, hosts + 1))
        others = [
            "-H",
            addresses,
            "--mca",
            "oob_tcp_if_include",
            "eth0",
            "--mca",
            "btl_tcp_if_include",
            "eth0",
        ]
        binding = ["--mca", "hwloc_base_binding_policy", "none", "--mca", "plm_rsh_agent"]
        # The ranks of an Open MPI with libfabric otherwise sleep for a second in MPI_Finalize (4.1, btl/ofi's close),
        # whatever started them: in all three cases, it would hide a half of what is compared.
        words = ["--mca", "btl", "^ofi", "-n", str(hosts), *program]
        lines = {
            "ours": ([*start, *words], ours),
            "ssh": ([*start, *others, *binding, ssh.agent, *words], plain),
            "floor": ([*start, *others, *binding, str(_floor(place, folder)), *words], plain),
        }
        given = alternate(
            {name: _timed(line, environment, hosts) for name, (line, environment) in lines.items()}, rounds
        )
    wall = {name: [each.wall for each in costs] for name, costs in given.items()}
    for name, costs in given.items():
        result.add(f"{name}: wall", "s", *wall[name])
        result.add(f"{name}: CPU of the machine", "s", *(each.cpu for each in costs))
    result.expect("wall, of the floor's", ratio(wall["ours"], wall["floor"]), 1.2)
    result.expect("wall, of ssh's", ratio(wall["ours"], wall["ssh"]), 0.4)
    result.notes.append(f"Open MPI {mpi.version}, {hosts} hosts")
    return result


def _timed(line: list[str], environment: dict[str, str], hosts: int) -> Callable[[], JobCost]:
    def case() -> JobCost:
        have_memory(hosts * MEMORY_OF_HOST)
        before = cpu_of_machine()
        cost = run(line, environment)
        return JobCost(cost.wall, cpu_of_machine() - before)

    return case


def _hello(mpi: OpenMpi, folder: Path, result: Result) -> list[str]:
    """A compiled MPI program, or where there is no compiler one that is none."""
    compiler = Path(mpi.mpiexec).with_name("mpicc")
    if compiler.exists() and shutil.which("cc"):
        source = folder / "hello.c"
        source.write_text(_HELLO)
        prefix = str(compiler.parents[1])
        done = subprocess.run(
            [compiler, "-o", folder / "hello", source],
            capture_output=True,
            env={**os.environ, "OPAL_PREFIX": prefix},
        )
        if done.returncode == 0:
            return ["-x", f"LD_LIBRARY_PATH={prefix}/lib", str(folder / "hello")]
    result.notes.append("no compiler for an MPI program: the ranks are /bin/true")
    return ["/bin/true"]


def _floor(place: Ground, folder: Path) -> Path:
    """An rsh agent that enters the host's namespaces, and is the command then."""
    assert place.network is not None
    cases = "\n".join(
        f"{place.address(number)}) space={space} name=floor{number} ;;"
        for number, space in enumerate(place.network.agents, 1)
    )
    agent = folder / "floor"
    agent.write_text(
        f"#!/bin/sh\ncase $1 in\n{cases}\nesac\nshift\n"
        'exec ip netns exec $space unshare --uts sh -c "hostname $name; $*"\n'
    )
    agent.chmod(0o755)
    return agent


def first_rank(small: bool) -> Result:
    """`ompirun.sh -N 4 -n 8` on a running cluster, by the phases of its timeline."""
    result = Result()
    if not open_mpis():
        result.skipped = "no Open MPI here (ROUJIAMO_TEST_OPENMPI names one)"
        return result
    hosts, ranks = (2, 2) if small else (4, 8)
    phases: dict[str, list[float]] = {}
    with ground(hosts) as place, tempfile.TemporaryDirectory(prefix="rj-launch-") as folder:
        file = f"{folder}/launch.json"
        line = [*place.launch, str(ROOT / "bin" / "ompirun.sh"), "-N", str(hosts), "-n", str(ranks)]
        line += ["--timeline", file, "--mpiexec", open_mpis()[0].mpiexec, place.master, "true"]
        for _ in range(1 if small else 15):
            run(
                line, {**place.environment, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
            )
            for name, seconds in _phases(json.loads(Path(file).read_text())).items():
                phases.setdefault(name, []).append(seconds * 1e3)
    for name, values in phases.items():
        result.add(name, "ms", *values)
    result.expect("our own share", statistics.median(phases["our own share"]), 200, "ms")
    return result


def _phases(document: dict) -> dict[str, float]:
    """Seconds of each phase up to mpiexec's start, and how much of them is ours.

    Mesos's: from SUBSCRIBED to the first offer, and from the ACCEPT to the task's start.
    """
    events = [each for each in document["traceEvents"] if each["ph"] == "X"]
    phases = {each["name"]: each["dur"] / 1e6 for each in events if each["pid"] == 1}
    begin = {each["name"]: each["ts"] / 1e6 for each in events if each["pid"] == 1}
    hosts = [each["args"] for each in events if each["name"] == "host is there"]
    offered = max(min(each["offered"] for each in hosts) - begin["offers"], 0.0)
    started = max(each["starting"] for each in hosts) - min(each["accepted"] for each in hosts)
    shown = {name: phases[name] for name in ("start", "subscribe", "offers", "tasks", "call-backs")}
    shown["start of mpiexec"] = phases["start of mpiexec"]
    shown["all before mpiexec"] = begin["mpiexec"]
    shown["Mesos's allocation and task start"] = offered + started
    shown["our own share"] = begin["mpiexec"] - offered - started
    return shown
