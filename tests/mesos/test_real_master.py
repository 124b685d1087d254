"""What this package builds, judged by a real master: it validates an ACCEPT to the letter and runs the task.

Needs ROUJIAMO_TEST_MASTER=host:port; without it the tests are skipped and say so.
"""

import getpass
import http.client
import json
import random
import time
import uuid

import pytest

from roujiamo.mesos.framework_info import framework_info
from roujiamo.mesos.gang import Accept, Decline, Demand, GangAllocator, Suppress
from roujiamo.mesos.recordio import RecordIODecoder
from roujiamo.mesos.resources import Resources
from roujiamo.mesos.taskinfo import Container, RLimit, launch_operation, task_info
from tests.support import real_mesos, requires_real_mesos, scaled

pytestmark = requires_real_mesos

PATH = "/api/v1/scheduler"
JSON_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


def request(method, path, body=None, headers=JSON_HEADERS):
    connection = http.client.HTTPConnection(real_mesos(), timeout=scaled(20))
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    return connection, response


class Subscription:
    """A scheduler's connection, without any driver in between."""

    def __init__(self, info):
        self.connection, self.response = request(
            "POST", PATH, {"type": "SUBSCRIBE", "subscribe": {"framework_info": info}}
        )
        assert self.response.status == 200, self.response.read()
        self.stream_id = self.response.headers["Mesos-Stream-Id"]
        self.decoder = RecordIODecoder()
        self.pending = []
        self.framework_id = self.event("SUBSCRIBED")["framework_id"]

    def event(self, kind):
        """The next event of this kind; ERROR fails the test."""
        deadline = time.monotonic() + scaled(20)
        while True:
            while self.pending:
                event = json.loads(self.pending.pop(0))
                assert event["type"] != "ERROR", event
                if event["type"] == kind:
                    return event[kind.lower()]
            assert time.monotonic() < deadline, f"no {kind} from the master"
            data = self.response.read1(65536)
            assert data, "the master closed the stream"
            self.pending += self.decoder.receive_data(data)

    def call(self, kind, **body):
        message = {"type": kind, "framework_id": self.framework_id, **body}
        connection, response = request(
            "POST", PATH, message, {**JSON_HEADERS, "Mesos-Stream-Id": self.stream_id}
        )
        assert response.status == 202, response.read()
        connection.close()

    def close(self):
        self.call("TEARDOWN")
        self.connection.close()


@pytest.fixture
def subscription():
    subscribed = Subscription(
        framework_info("allocation test", getpass.getuser(), labels={"test": "allocation"})
    )
    yield subscribed
    subscribed.close()


def slaves():
    connection, response = request("GET", "/slaves")
    agents = json.loads(response.read())["slaves"]
    connection.close()
    return agents


def carry_out(subscription, decisions, task_of):
    """Do what the broker does with decisions; returns the hosts that were accepted."""
    accepts = [each for each in decisions if isinstance(each, Accept)]
    for each in decisions:
        if isinstance(each, Accept):
            subscription.call(
                "ACCEPT",
                accept={
                    "offer_ids": [{"value": offer_id} for offer_id in each.offer_ids],
                    "operations": [launch_operation([task_of(each)])],
                    "filters": {"refuse_seconds": 0},
                },
            )
        elif isinstance(each, Decline):
            subscription.call(
                "DECLINE",
                decline={
                    "offer_ids": [{"value": offer_id} for offer_id in each.offer_ids],
                    "filters": {"refuse_seconds": each.refuse_seconds},
                },
            )
        else:
            subscription.call("SUPPRESS" if isinstance(each, Suppress) else "REVIVE")
    return accepts


def last_states(subscription, count):
    """Acknowledge updates until so many tasks have ended; returns their last status by task id."""
    ended = {}
    while len(ended) < count:
        status = subscription.event("UPDATE")["status"]
        if "uuid" in status:
            subscription.call(
                "ACKNOWLEDGE",
                acknowledge={key: status[key] for key in ("agent_id", "task_id", "uuid")},
            )
        if status["state"] not in ("TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING"):
            ended[status["task_id"]["value"]] = status
    return ended


def test_a_gang_of_two_is_accepted_and_its_tasks_finish(subscription):
    """Fractions of cpus, an overhead, an environment, labels and a kill policy: all to the master's liking."""
    demand = Demand(2, 3, Resources(cpus=0.3, mem=64, disk=1), Resources(cpus=0.101, mem=32))
    gang = GangAllocator(demand, ("*",), scaled(5), time.monotonic(), random.Random(1).random)
    hosts = []
    started = uuid.uuid4().hex

    def task_of(accept):
        return task_info(
            task_id=f"{started}-{accept.hostname}",
            name=f"allocation test on {accept.hostname}",
            agent_id=accept.agent_id,
            resources=accept.resources,
            command='test "$GREETING" = "grüß \\"dich\\""',
            environment={"GREETING": 'grüß "dich"'},
            labels={"slots": str(accept.slots)},
            kill_grace_seconds=1.5,
        )

    while not gang.is_satisfied:
        offers = subscription.event("OFFERS")["offers"]
        hosts += carry_out(subscription, gang.on_offers(offers, time.monotonic()), task_of)
    assert sorted(each.slots for each in hosts) == [1, 2]
    states = {
        task_id: (status["state"], status.get("message"))
        for task_id, status in last_states(subscription, 2).items()
    }
    assert {state for state, _ in states.values()} == {"TASK_FINISHED"}, states


def test_limits_and_arguments_are_accepted(subscription):
    """A ContainerInfo without an image, and a command without a shell."""
    demand = Demand(1, 1, Resources(cpus=0.1, mem=32))
    gang = GangAllocator(demand, ("*",), scaled(5), time.monotonic(), random.Random(1).random)

    def task_of(accept):
        return task_info(
            task_id=uuid.uuid4().hex,
            name="limits",
            agent_id=accept.agent_id,
            resources=accept.resources,
            command=["/bin/sh", "-c", "exit 0"],
            user=getpass.getuser(),
            container=Container(rlimits=[RLimit("CORE", 0, 0), RLimit("MEMLOCK")]),
        )

    while not gang.is_satisfied:
        carry_out(
            subscription,
            gang.on_offers(subscription.event("OFFERS")["offers"], time.monotonic()),
            task_of,
        )
    (status,) = last_states(subscription, 1).values()
    assert status["state"] == "TASK_FINISHED", status


def test_an_exclusive_host_takes_an_idle_agent_whole(subscription):
    """All that was offered, ports included, is again named as it was offered."""
    demand = Demand(1, 1, Resources(cpus=0.1, mem=32), exclusive=True)
    gang = GangAllocator(demand, ("*",), scaled(5), time.monotonic(), random.Random(1).random)
    gang.learn_agents(slaves())
    assert gang.is_impossible(slaves()) is None
    hosts = []

    def task_of(accept):
        return task_info(
            task_id=uuid.uuid4().hex,
            name="whole agent",
            agent_id=accept.agent_id,
            resources=accept.resources,
            command="true",
        )

    while not hosts:
        offers = subscription.event("OFFERS")["offers"]
        hosts += carry_out(subscription, gang.on_offers(offers, time.monotonic()), task_of)
    assert "ports" in {each["name"] for each in hosts[0].resources}
    (status,) = last_states(subscription, 1).values()
    assert status["state"] == "TASK_FINISHED", status


def test_an_impossible_request_is_told_from_the_masters_own_list():
    """The sentence's numbers are those of the agents that are really there."""
    agents = slaves()
    gang = GangAllocator(Demand(1, 1, Resources(cpus=10_000, mem=1)), ("*",), 5.0, 0.0, random.random)
    largest = max(each["resources"]["cpus"] for each in agents)
    assert gang.is_impossible(agents) == f"no agent has 10000 cpus; the largest has {largest:g} cpus"
