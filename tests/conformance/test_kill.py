"""KILL: SIGTERM, a grace, SIGKILL; and kills of what is not there."""

from __future__ import annotations

from tests.conformance.conftest import Master, needs_mesos_executor, unique
from tests.support.scheduler import Scheduler, task

STUBBORN = "trap '' TERM; while :; do sleep 0.05; done"


def run(framework: Scheduler, *commands: str, **more: object) -> list[str]:
    """Run tasks on one offer; returns their names."""
    names = [unique("kill") for _ in commands]
    offer = framework.offer()
    framework.accept(
        offer, *(task(name, command, offer, **more) for name, command in zip(names, commands, strict=True))
    )
    for name in names:
        framework.update(name, ("TASK_RUNNING",))
    return names


def kill(framework: Scheduler, name: str, grace_seconds: float | None = None) -> None:
    fields: dict[str, object] = {"task_id": {"value": name}}
    if grace_seconds is not None:
        fields["kill_policy"] = {"grace_period": {"nanoseconds": int(grace_seconds * 1e9)}}
    assert framework.call("KILL", kill=fields) == (202, b"")


def test_a_killed_task_is_terminated(master: Master) -> None:
    with master.framework() as framework:
        (name,) = run(framework, "sleep 1000")
        kill(framework, name)
        status = framework.update(name)
        assert (status["state"], status["message"]) == (
            "TASK_KILLED",
            "Command terminated with signal Terminated",
        )
        assert status["source"] == "SOURCE_EXECUTOR"


def test_a_task_may_be_killed_before_it_runs(master: Master) -> None:
    """The KILL on the heels of the ACCEPT is not lost, wherever the task is by then."""
    name = unique("kill")
    with master.framework() as framework:
        framework.launch(name, "sleep 1000")
        kill(framework, name)
        assert framework.update(name)["state"] == "TASK_KILLED"


def test_a_task_may_end_in_its_own_way_when_it_is_killed(master: Master) -> None:
    """However it ends, it was killed."""
    with master.framework() as framework:
        quiet, loud = run(
            framework,
            "trap 'exit 0' TERM; while :; do sleep 0.02; done",
            "trap 'exit 5' TERM; while :; do sleep 0.02; done",
        )
        ready(framework)
        kill(framework, quiet)
        kill(framework, loud)
        ends = [framework.update(name) for name in (quiet, loud)]
        assert [(one["state"], one["message"]) for one in ends] == [
            ("TASK_KILLED", "Command exited with status 0"),
            ("TASK_KILLED", "Command exited with status 5"),
        ]


def test_who_ignores_the_termination_is_killed_after_the_grace(master: Master) -> None:
    """The KILL's own grace: who was told of a short one ends first, though killed later."""
    with master.framework() as framework:
        patient, hasty = run(framework, STUBBORN, STUBBORN)
        ready(framework)
        kill(framework, patient, 2.0)
        kill(framework, hasty, 0.2)
        messages = [framework.update(name)["message"] for name in (hasty, patient)]
        assert messages == ["Command terminated with signal Killed"] * 2
        order = [
            event["update"]["status"]["task_id"]["value"]
            for event in framework.events
            if event["type"] == "UPDATE" and event["update"]["status"]["state"] == "TASK_KILLED"
        ]
        assert order == [hasty, patient]


def ready(framework: Scheduler) -> None:
    """A moment for the shells to set their traps, which nobody outside can see: a task that runs and ends meanwhile."""
    name = unique("moment")
    framework.launch(name, "sleep 0.3")
    framework.update(name)


def test_a_tasks_own_kill_policy_is_its_grace(master: Master) -> None:
    needs_mesos_executor(master)
    with master.framework() as framework:
        (patient,) = run(framework, STUBBORN, kill_policy={"grace_period": {"nanoseconds": 2_000_000_000}})
        (hasty,) = run(framework, STUBBORN, kill_policy={"grace_period": {"nanoseconds": 200_000_000}})
        ready(framework)
        kill(framework, patient)
        kill(framework, hasty)
        assert framework.update(hasty)["message"] == "Command terminated with signal Killed"
        assert "TASK_KILLED" not in framework.states(patient)


def test_a_framework_that_wants_to_know_is_told_of_a_kill_under_way(master: Master) -> None:
    needs_mesos_executor(master)
    with master.framework(capabilities=[{"type": "TASK_KILLING_STATE"}]) as framework:
        (name,) = run(framework, "sleep 1000")
        kill(framework, name)
        framework.update(name)
        assert framework.states(name)[-2:] == ["TASK_KILLING", "TASK_KILLED"]


def test_a_kill_of_what_is_not_there_is_answered_as_a_reconciliation(master: Master) -> None:
    with master.framework() as framework:
        name = unique("nobody")
        kill(framework, name)
        status = framework.update(name)
        assert (status["state"], status["reason"], status["source"]) == (
            "TASK_LOST",
            "REASON_RECONCILIATION",
            "SOURCE_MASTER",
        )
        assert status["message"] == "Reconciliation: Task is unknown"


def test_shutdown_of_a_tasks_executor_ends_the_task(master: Master) -> None:
    with master.framework() as framework:
        (name,) = run(framework, "sleep 1000")
        agent_id = framework.update(name, ("TASK_RUNNING",))["agent_id"]
        shutdown = {"executor_id": {"value": name}, "agent_id": agent_id}
        assert framework.call("SHUTDOWN", shutdown=shutdown) == (202, b"")
        assert framework.update(name)["state"] in ("TASK_KILLED", "TASK_FAILED")
