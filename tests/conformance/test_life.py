"""A framework's life: subscription, offers, tasks, their ends, and its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.conftest import Master, needs_mesos_executor, unique
from tests.support import until
from tests.support.scheduler import PATH, Scheduler, authorization, request, task


def test_subscribed_comes_first_then_a_heartbeat_and_offers(master: Master) -> None:
    """The latter two in any order."""
    with master.framework() as framework:
        framework.offer()
        framework.wait_for(lambda event: event["type"] == "HEARTBEAT", seconds=5)
        assert framework.events[0]["type"] == "SUBSCRIBED"
        assert {event["type"] for event in framework.events[1:]} == {"HEARTBEAT", "OFFERS"}
        subscribed = framework.events[0]["subscribed"]
        assert subscribed["framework_id"] == framework.id
        assert subscribed["heartbeat_interval_seconds"] > 0
        info = subscribed["master_info"]
        assert info["version"].startswith("1.")
        assert framework.id["value"].startswith(info["id"] + "-")
        assert {"id", "ip", "port", "pid", "hostname", "address", "capabilities"} <= set(info)


def test_every_agent_is_offered_once_with_all_that_is_free(master: Master) -> None:
    agents = {one["id"]: one for one in master.get("/slaves")["slaves"] if one["active"]}
    with master.framework() as framework:
        offers = framework.offers(len(agents))
        assert {one["agent_id"]["value"] for one in offers} == set(agents)
        for offer in offers:
            assert set(offer) <= {
                "id",
                "framework_id",
                "agent_id",
                "hostname",
                "url",
                "resources",
                "attributes",
            }
            agent = agents[offer["agent_id"]["value"]]
            assert offer["hostname"] == agent["hostname"]
            assert offer["url"]["scheme"] == "http"
            assert set(offer["url"]["address"]) == {"hostname", "ip", "port"}
            for resource in offer["resources"]:
                assert resource["role"] == "*"
                assert "allocation_info" not in resource
            scalars = {one["name"]: one["scalar"]["value"] for one in offer["resources"] if "scalar" in one}
            assert scalars["cpus"] == agent["resources"]["cpus"]


def test_a_framework_of_several_roles_is_told_for_which_role_an_offer_is(master: Master) -> None:
    with master.framework(roles=["ml", "hpc"], capabilities=[{"type": "MULTI_ROLE"}]) as framework:
        offer = framework.offer()
        role = offer["allocation_info"]["role"]
        assert role in ("ml", "hpc")
        assert {one["allocation_info"]["role"] for one in offer["resources"]} == {role}
        roles = {one["name"]: one for one in master.get("/roles")["roles"]}
        assert framework.id["value"] in roles["ml"]["frameworks"]
        assert framework.id["value"] in roles["hpc"]["frameworks"]


def test_a_task_starts_runs_and_finishes(master: Master) -> None:
    name = unique("t")
    with master.framework() as framework:
        offer = framework.launch(name, "true")
        framework.update(name)
        assert framework.states(name) == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]
        status = framework.update(name)
        assert (status["message"], status["source"]) == ("Command exited with status 0", "SOURCE_EXECUTOR")
        assert "reason" not in status
        assert (status["agent_id"], status["executor_id"]) == (offer["agent_id"], {"value": name})
        assert {"timestamp", "uuid", "container_status"} <= set(status)
        container = status["container_status"]
        assert {"container_id", "network_infos"} <= set(container)
        (done,) = until(lambda: done_tasks(master, framework), what="the task among those that are over")
        assert (done["id"], done["state"], done["slave_id"]) == (
            name,
            "TASK_FINISHED",
            offer["agent_id"]["value"],
        )


def done_tasks(master: Master, framework: Scheduler) -> Any:
    known = master.state_of(framework.id["value"])
    return known["completed_tasks"] if known is not None else []


ENDS = {
    "a status": ("exit 3", "TASK_FAILED", "Command exited with status 3"),
    "SIGKILL": ("kill -KILL $$", "TASK_FAILED", "Command terminated with signal Killed"),
    "SIGTERM": ("kill -TERM $$", "TASK_FAILED", "Command terminated with signal Terminated"),
    "SIGSEGV": ("kill -SEGV $$", "TASK_FAILED", "Command terminated with signal Segmentation fault"),
    "no such command, in a shell": ("/no/such", "TASK_FAILED", "Command exited with status 127"),
    "arguments": (
        {"shell": False, "value": "/bin/sh", "arguments": ["sh", "-c", 'test "$0 $1" = "a b"', "a", "b"]},
        "TASK_FINISHED",
        "Command exited with status 0",
    ),
    "its environment": (
        {
            "value": 'test "$GREETING" = "grüß \\"dich\\" $0"; exit $(($? + 4))',
            "environment": {"variables": [{"name": "GREETING", "value": 'grüß "dich" sh'}]},
        },
        "TASK_FAILED",
        "Command exited with status 4",
    ),
    "its sandbox": (
        'test "$PWD" = "$MESOS_SANDBOX" && test -w . && test -f stdout && exit 5',
        "TASK_FAILED",
        "Command exited with status 5",
    ),
}


def test_how_a_command_ended_is_in_the_last_updates_message(master: Master) -> None:
    """All in one ACCEPT: its tasks share the offer's resources."""
    names = {what: unique("end") for what in ENDS}
    with master.framework() as framework:
        offer = framework.offer()
        framework.accept(offer, *(task(names[what], ENDS[what][0], offer) for what in ENDS))
        found = {what: framework.update(names[what]) for what in ENDS}
        assert {what: (one["state"], one["message"]) for what, one in found.items()} == {
            what: (state, message) for what, (_, state, message) in ENDS.items()
        }


def test_a_task_of_an_unknown_user_is_lost(master: Master) -> None:
    name = unique("t")
    with master.framework() as framework:
        framework.launch(name, {"value": "true", "user": "nosuchuser"})
        status = framework.update(name)
        assert (status["state"], status["reason"], status["source"]) == (
            "TASK_LOST",
            "REASON_EXECUTOR_TERMINATED",
            "SOURCE_AGENT",
        )
        assert status["message"].startswith("Failed to create executor directory '")
        assert status["message"].endswith("No such user 'nosuchuser'")


def test_a_file_that_cannot_be_fetched_fails_the_task(master: Master) -> None:
    name = unique("t")
    with master.framework() as framework:
        framework.launch(name, {"value": "true", "uris": [{"value": "file:///no/such/file"}]})
        status = framework.update(name)
        assert (status["state"], status["reason"]) == ("TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED")
        assert status["message"].startswith(
            "Failed to launch container: Failed to fetch all URIs for container"
        )


def test_a_file_that_can_be_fetched_lies_in_the_sandbox(master: Master) -> None:
    """Executable, extracted or under another name as asked."""
    name = unique("t")
    uris = [
        {"value": "file:///etc/hostname", "output_file": "name"},
        {"value": "file:///bin/true", "executable": True},
    ]
    with master.framework() as framework:
        framework.launch(name, {"value": "test -s name && test -x true && exit 7", "uris": uris})
        assert framework.update(name)["message"] == "Command exited with status 7"


def test_max_completion_time_ends_a_task(master: Master) -> None:
    needs_mesos_executor(master)
    name = unique("t")
    with master.framework() as framework:
        framework.launch(name, "sleep 1000", max_completion_time={"nanoseconds": 300_000_000})
        status = framework.update(name)
        assert (status["state"], status["reason"]) == ("TASK_FAILED", "REASON_MAX_COMPLETION_TIME_REACHED")
        assert status["message"] == "Command terminated with signal Terminated"


def test_a_command_that_is_not_there_fails(master: Master) -> None:
    needs_mesos_executor(master)
    name = unique("t")
    with master.framework() as framework:
        framework.launch(name, {"shell": False, "value": "/no/such"})
        assert framework.update(name)["message"] == "Command exited with status 1"


def test_a_task_has_a_bare_environment(master: Master) -> None:
    needs_mesos_executor(master)
    name = unique("t")
    with master.framework() as framework:
        framework.launch(name, 'test -z "$HOME$USER$LANG" && test -n "$MESOS_TASK_ID" && exit 6')
        assert framework.update(name)["message"] == "Command exited with status 6"


def test_teardown_ends_the_stream_and_kills_the_tasks(master: Master) -> None:
    name = unique("t")
    with master.framework(failover_timeout=60) as framework:
        framework.launch(name, "trap '' TERM; while :; do sleep 0.1; done")
        framework.update(name, ("TASK_RUNNING",))
        assert framework.call("TEARDOWN") == (202, b"")
        framework.wait_for_end()
        assert framework.call("REVIVE") == (400, b"Framework cannot be found")
        state = master.get("/frameworks")
        over = {one["id"]: one for one in state["completed_frameworks"]}[framework.id["value"]]
        assert framework.id["value"] not in {one["id"] for one in state["frameworks"]}
        assert (over["active"], over["connected"]) == (False, False)
        assert [(one["id"], one["state"]) for one in over["completed_tasks"]] == [(name, "TASK_KILLED")]
        with master.framework(id=framework.id) as again:
            assert again.events[-1] == {"type": "ERROR", "error": {"message": "Framework has been removed"}}
            again.wait_for_end()


def test_an_operator_may_tear_down_a_framework(master: Master) -> None:
    with master.framework(failover_timeout=60) as framework:
        master.tear_down(framework.id["value"])
        framework.wait_for_end()
        assert master.state_of(framework.id["value"]) is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", b"Missing 'frameworkId' query parameter in the request body"),
        (b"frameworkId=nope", b"No framework found with specified ID"),
    ],
)
def test_a_teardown_of_nothing_is_refused(master: Master, body: bytes, message: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded", **authorization(master.credentials)}
    assert request(master.address, "POST", "/master/teardown", body, headers) == (400, message)


def test_a_framework_is_shown_as_it_described_itself(master: Master) -> None:
    labels = [{"key": "job", "value": "a b"}]
    with master.framework(labels={"labels": labels}, failover_timeout=7.5, checkpoint=True) as framework:
        shown = master.state_of(framework.id["value"])
        assert shown is not None
        expected = {
            "name": framework.info["name"],
            "user": "root",
            "failover_timeout": 7.5,
            "checkpoint": True,
            "role": "*",
            "active": True,
            "connected": True,
            "recovered": False,
            "webui_url": "",
            "labels": labels,
            "tasks": [],
            "completed_tasks": [],
        }
        assert {key: shown[key] for key in expected} == expected
        assert shown.get("principal") == master.principal


def test_a_call_may_come_with_a_body_of_any_layout(master: Master) -> None:
    """Fields in any order, blanks, unknown fields, null for none: JSON is JSON."""
    with master.framework() as framework:
        body = '{\n "framework_id" : {"value":"%s"} , "nosuch": [1], "suppress": null, "type":"SUPPRESS" }'
        headers = {
            "Content-Type": "application/json",
            "Mesos-Stream-Id": framework.stream_id,
            **authorization(master.credentials),
        }
        answer = request(master.address, "POST", PATH, (body % framework.id["value"]).encode(), headers)
        assert answer == (202, b""), json.dumps(body)
