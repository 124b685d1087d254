"""`mpiexec` with the agent's name and ROUJIAMO_MASTER, and nothing else of ours: every launcher, on named hosts."""

import json
import os
import re
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.bare.conftest import MARKER, Bench, Launcher, bench_with, names_of
from tests.support import children_of, scaled, until, without_open_mpis_race

FOREVER = ("sh", "-c", "echo started; sleep 100")


@pytest.mark.parametrize("count", [2, 3])
def test_ranks_run_in_tasks_on_the_named_hosts(launcher: Launcher, master: str, count: int) -> None:
    """Each rank on the host that it was named for, inside a Mesos task, and silence besides."""
    names = names_of(master)[-count:]
    with bench_with(master, launcher) as bench:
        result = bench.where(",".join(names), ("-n", str(count)))
        assert result.status == 0, result.err
        assert result.hosts() == dict(enumerate(names))
        assert "roujiamo" not in result.err, "silent when all is well"


def test_a_rank_that_exits_3_makes_the_launcher_fail(bench_of_each: Bench) -> None:
    """The status is the launcher's own; Intel's is 255 where it sees the agent's end first, whatever the agent."""
    assert bench_of_each.launcher is not None
    rank = bench_of_each.launcher.rank
    program = f"sleep 0.5; test ${rank} != 1 || exit 3"
    line = bench_of_each.line("agent1,agent2", "sh", "-c", program, options=("-n", "2"))
    expected = (3, 255) if bench_of_each.launcher.name == "intel" else (3,)
    assert bench_of_each.run(*line).status in expected


def test_a_daemon_that_cannot_start_is_explained_by_its_shim(bench: Bench) -> None:
    """No program of ours waits for the launcher: the sentence stands among its own words."""
    elsewhere = ("--prefix", "/no/such")
    result = bench.run(*bench.line("agent1,agent2", "true", options=elsewhere))
    assert result.status not in (0, 255), result.err
    told = (
        r"^roujiamo-rsh: agent[12]: .*/no/such/bin/orted: .*; orted is not at this path there; .*--prefix DIR"
    )
    assert re.search(told, result.err, re.MULTILINE), result.err


def test_tree_spawn_reaches_hosts_from_inside_tasks(bench: Bench) -> None:
    """A chain: each daemon starts the next one, through its own proxy and the broker; so names come late."""
    chain = ("--mca", "routed_radix", "1", "-n", "3")
    with bench.started(*bench.line("agent1,agent2,agent3", *FOREVER, options=chain)) as mpiexec:
        until(lambda: mpiexec.output().count("started") == 3, 60, "three ranks")
        assert mpiexec.pid is not None
        shims = [
            pid for pid in children_of(mpiexec.pid) if b"shim" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        assert len(shims) == 1, "the others were started by daemons"


def test_a_cluster_of_ones_own(bench: Bench) -> None:
    """ROUJIAMO_MASTER=local: it lives as long as the mpiexec."""
    result = bench.where("agent1,agent2,agent3", ROUJIAMO_MASTER="local")
    assert result.hosts() == {0: "agent1", 1: "agent2", 2: "agent3"}, result.err


def test_two_at_once_do_not_mix(bench: Bench) -> None:
    """Each has a session of its own, named after its launcher; they share the folder and the agents."""

    def folder(name: str) -> tuple[str, ...]:
        """Open MPI 4's own: two mpiexecs that make one at the same moment now and then fail ("File exists") or hang."""
        (bench.folder / name).mkdir()
        return ("--mca", "orte_tmpdir_base", str(bench.folder / name))

    with (
        bench.started(*bench.line("agent1:1,agent2:1", *FOREVER, options=folder("one"))) as one,
        bench.started(*bench.line("agent2:1,agent3:1", *FOREVER, options=folder("other"))) as other,
    ):
        for each in (one, other):
            until(lambda each=each: each.output().count("started") == 2, 60, "two ranks")  # type: ignore[misc]
        assert len(bench.processes("roujiamo.broker")) == 2
        assert len(bench.frameworks()) == 2
        one.process.kill()
        one.wait()
        until(lambda: len(bench.frameworks()) == 1, 20, "the one's end")
        assert other.process.poll() is None
        assert without_open_mpis_race(other.errors()) == ""


def slots_of_tasks(master: str) -> dict[str, float]:
    """The cpus of our running tasks, by the agent's name."""
    with urllib.request.urlopen(f"http://{master}/state", timeout=scaled(10)) as answer:
        state = json.load(answer)
    names = {each["id"]: each["hostname"] for each in state["slaves"]}
    return {
        names[task["slave_id"]]: task["resources"]["cpus"]
        for framework in state["frameworks"]
        if framework["name"].startswith("roujiamo ")
        for task in framework["tasks"]
        if task["state"] == "TASK_RUNNING"
    }


@pytest.mark.parametrize(
    ("hosts", "variables", "cpus"),
    [
        ("agent1:2,agent2:1", {}, {"agent1": 2.0, "agent2": 1.0}),
        (
            "agent1:2,agent2:1",
            {"ROUJIAMO_CPUS": "0.5", "ROUJIAMO_OVERHEAD_CPUS": "1"},
            {"agent1": 2.0, "agent2": 1.5},
        ),
        ("agent1,agent2", {"ROUJIAMO_SLOTS": "3"}, {"agent1": 3.0, "agent2": 3.0}),
    ],
)
def test_each_hosts_task_is_as_large_as_its_slots(
    bench: Bench, hosts: str, variables: dict[str, str], cpus: dict[str, float]
) -> None:
    """Slots from the launcher's command line, sizes from variables."""
    bench.environment.update(variables)
    with bench.started(*bench.line(hosts, *FOREVER)) as mpiexec:
        until(lambda: mpiexec.output().count("started") >= 2, 60, "the ranks")
        assert slots_of_tasks(bench.master) == cpus


def test_a_hostfile_in_the_launchers_folder_gives_the_slots(bench: Bench) -> None:
    """It is read from where the launcher reads it."""
    (bench.folder / "hosts").write_text("agent1 slots=2\nagent3 slots=1\n")
    assert bench.launcher is not None
    line = [bench.launcher.mpiexec, *bench.launcher.agent, "--hostfile", "hosts", *FOREVER]
    with bench.started(*line) as mpiexec:
        until(lambda: mpiexec.output().count("started") == 3, 60, "three ranks")
        assert slots_of_tasks(bench.master) == {"agent1": 2.0, "agent3": 1.0}


def test_a_script_between_launcher_and_agent_is_no_hindrance(bench: Bench) -> None:
    """Sites wrap agents; all of the launcher's still share one session, and end with it."""
    wrapper = bench.folder / "agent.sh"
    wrapper.write_text('#!/bin/sh\nroujiamo-rsh "$@"\n')
    wrapper.chmod(0o755)
    assert bench.launcher is not None
    options = ("--mca", "plm_rsh_agent", str(wrapper), "--mca", "plm_rsh_no_tree_spawn", "1")
    line = [bench.launcher.mpiexec, *options, "-H", "agent1,agent2", *FOREVER]
    with bench.started(*line) as mpiexec:
        until(lambda: mpiexec.output().count("started") == 2, 60, "two ranks")
        assert len(bench.frameworks()) == 1
        mpiexec.process.kill()
        mpiexec.wait()
        bench.assert_nothing_left()


def check_that_nothing_is_left_after(number: signal.Signals, bench: Bench) -> None:
    line = bench.line("agent1,agent2", *FOREVER, options=("-n", "2"))
    with bench.started(*line) as mpiexec:
        until(lambda: mpiexec.output().count("started") == 2, 60, "two ranks")
        os.kill(mpiexec.pid, number)
        assert mpiexec.wait(30) != 0
        bench.assert_nothing_left()


def test_a_killed_launcher_ends_its_session(bench_of_each: Bench) -> None:
    """The broker has a pidfd on the launcher, and nobody else to tell it."""
    check_that_nothing_is_left_after(signal.SIGKILL, bench_of_each)


def test_an_interrupted_launcher_ends_its_session(bench: Bench) -> None:
    """Ctrl-C is the launcher's to understand; the session only sees its end."""
    check_that_nothing_is_left_after(signal.SIGINT, bench)


def test_a_killed_broker_ends_the_job(bench_of_each: Bench) -> None:
    """Its driver tears the framework down, the tasks end, the shims fail, and so the launcher does."""
    line = bench_of_each.line("agent1,agent2", *FOREVER, options=("-n", "2"))
    with bench_of_each.started(*line) as mpiexec:
        until(lambda: mpiexec.output().count("started") == 2, 60, "two ranks")
        (broker,) = bench_of_each.processes("roujiamo.broker")
        os.kill(broker, signal.SIGKILL)
        assert mpiexec.wait(40) != 0


def test_a_wrong_name_is_refused_with_the_agents_that_exist(bench_of_each: Bench) -> None:
    """A typing error in -H ends the launcher within seconds, and says what there is."""
    result = bench_of_each.run(
        *bench_of_each.line("agent1,agnet2", "hostname", options=("-n", "2")), seconds=40
    )
    assert result.status not in (0, 124)
    assert "there is no agent called agnet2; the agents are agent1, agent2 and agent3" in result.err


def test_a_host_that_cannot_be_had_in_time_is_255_and_all_is_given_back(bench: Bench) -> None:
    """There is no gang in this way of use: what one job holds and does not get to use must go back."""
    with bench.started(*bench.line("agent2:4", *FOREVER)) as first:
        until(lambda: first.output().count("started") == 4, 60, "four ranks")
        result = bench.run(*bench.line("agent1,agent2", *FOREVER), ROUJIAMO_TIMEOUT="3")
        assert result.status not in (0, 124)
        assert "the host agent2 could not be had in 3 s (ROUJIAMO_TIMEOUT)" in result.err
        assert "waiting for 1 cpu and" in result.err
        until(lambda: len(bench.frameworks()) == 1, 10, "that all is given back")


def test_a_task_that_no_agent_can_hold_is_refused_at_once(bench: Bench) -> None:
    """Waiting does not make an agent larger."""
    result = bench.run(*bench.line("agent1:64", "hostname"), seconds=40)
    assert result.status != 0
    assert (
        "agent1 does not have 64 cpus; it has 4 cpus; what a process needs is in ROUJIAMO_CPUS" in result.err
    )


def test_ranks_on_the_launch_host_are_told_of(bench: Bench) -> None:
    """The launcher starts these by itself, and no agent of its own can keep it from that; but we can say so."""
    result = bench.where("localhost:1,agent1:1")
    assert "localhost is this machine to the launcher" in result.err


def test_a_shared_marker_reaches_tasks(bench: Bench) -> None:
    """ROUJIAMO_ENV is --env; the bench itself relies on it."""
    result = bench.run(*bench.line("agent1", "sh", "-c", f"echo $HOME-${MARKER}; sleep 0.3"))
    assert bench.mark in result.out, result.err


def test_subprocess_pipes_end_with_the_launcher(bench: Bench) -> None:
    """The broker must not hold what mpiexec was given as stdout, or `mpiexec | cat` would hang."""
    line = bench.line("agent1", "sh", "-c", "echo done; sleep 0.3")
    with subprocess.Popen(
        line,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **bench.environment},
        cwd=bench.folder,
    ) as mpiexec:
        out, _ = mpiexec.communicate(timeout=scaled(60))
    assert out == b"done\n"
