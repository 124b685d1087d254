"""What the recordings do not show of the master's state, with a clock that the tests turn."""

from __future__ import annotations

import base64
import random
from typing import Any

from roujiamo.mesos.master import accepting, agents, frameworks, offers, tasks, views
from roujiamo.mesos.master.http_api import HttpApi
from roujiamo.mesos.master.http_messages import Request
from roujiamo.mesos.master.state import CloseStream, Event, Framework, MasterState, Settings, ToAgent
from tests.mesos.master.replay import START, add_agent, make_master

UUID = base64.b64encode(bytes([1, 2, 3, 4, 5, 6, 0x47, 8, 0x89, 10, 11, 12, 13, 14, 15, 16])).decode()


class Bench:
    """A master with agents, and what it did since the last look."""

    def __init__(self, count: int = 2, settings: Settings | None = None) -> None:
        self.state: MasterState = make_master(settings)
        self.now = START
        self.agents = [add_agent(self.state, f"agent{number}") for number in range(1, count + 1)]
        self.events: dict[str, list[dict[str, Any]]] = {}
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.closed: list[str] = []

    def subscribe(self, **info: Any) -> Framework:
        call = {"framework_info": {"user": "u", "name": "n", **info}}
        stream_id = frameworks.subscribe(self.state, call, None, self.now)
        self.look()
        return self.state.frameworks[self.state.streams[stream_id]]

    def wait(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        end = self.now + seconds
        while (deadline := self.state.timers.next_deadline) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            agents.tick(self.state, self.now)
            self.look()
        self.now = end

    def look(self) -> None:
        for action in self.state.take_actions():
            if isinstance(action, Event):
                self.events.setdefault(action.stream_id, []).append(action.event)
            elif isinstance(action, ToAgent):
                self.messages.append((action.agent_id, action.message))
                if action.message["type"] == "ping":
                    agents.receive(self.state, action.agent_id, {"type": "pong"}, self.now)
            elif isinstance(action, CloseStream):
                self.closed.append(action.stream_id)

    def of(self, framework: Framework, kind: str) -> list[dict[str, Any]]:
        """The events of a kind that the framework got on its present stream."""
        self.look()
        return [event for event in self.events.get(framework.stream_id or "", []) if event["type"] == kind]

    def launch(self, framework: Framework, task_id: str, cpus: float = 1, refuse: float = 5) -> str:
        """Launch a task on the framework's oldest offer; return the agent's id."""
        offer = next(iter(framework.offers.values()))
        call = {
            "offer_ids": [{"value": offer.id}],
            "operations": [
                {"type": "LAUNCH", "launch": {"task_infos": [task(task_id, offer.agent_id, cpus)]}}
            ],
            "filters": {"refuse_seconds": refuse},
        }
        accepting.accept(self.state, framework, call, self.now)
        self.look()
        return offer.agent_id

    def decline_all(self, framework: Framework, refuse: float) -> None:
        ids = [{"value": offer_id} for offer_id in framework.offers]
        call = {"offer_ids": ids, "filters": {"refuse_seconds": refuse}}
        accepting.decline(self.state, framework, call, self.now)

    def report(self, framework: Framework, agent_id: str, task_id: str, state: str, uuid: str = UUID) -> None:
        status = {"task_id": {"value": task_id}, "state": state, "uuid": uuid, "timestamp": self.now}
        message = {"type": "update", "framework_id": framework.id, "status": status}
        agents.receive(self.state, agent_id, message, self.now)
        self.look()

    def states(self, framework: Framework) -> list[str]:
        return [event["update"]["status"]["state"] for event in self.of(framework, "UPDATE")]


def task(task_id: str, agent_id: str, cpus: float = 1) -> dict[str, Any]:
    resources = [
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": cpus}},
        {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}},
    ]
    return {
        "name": task_id,
        "task_id": {"value": task_id},
        "agent_id": {"value": agent_id},
        "resources": resources,
        "command": {"value": "true"},
    }


def test_a_refusal_holds_for_its_time_and_no_longer() -> None:
    bench = Bench()
    framework = bench.subscribe()
    bench.decline_all(framework, 10)
    bench.wait(9.5)
    assert len(bench.of(framework, "OFFERS")) == 1
    bench.wait(2)
    assert len(bench.of(framework, "OFFERS")) == 2


def test_a_refusal_of_nothing_lasts_until_the_next_allocation() -> None:
    """refuse_seconds 0 sets no filter: the next beat offers again."""
    bench = Bench()
    framework = bench.subscribe()
    bench.decline_all(framework, 0)
    bench.wait(1.0)
    assert len(bench.of(framework, "OFFERS")) == 2


def test_more_than_was_refused_is_offered_again() -> None:
    """A filter covers what was refused and less; resources that come back beside it lift it."""
    bench = Bench(count=1)
    framework = bench.subscribe(failover_timeout=5)
    agent_id = bench.launch(framework, "t", refuse=1000)
    bench.wait(5)
    assert not framework.offers
    bench.report(framework, agent_id, "t", "TASK_FINISHED")
    bench.wait(1)
    assert [offer.resources.scalar("cpus") for offer in framework.offers.values()] == [4000]


def test_other_frameworks_get_what_one_refuses() -> None:
    bench = Bench()
    first = bench.subscribe()
    second = bench.subscribe()
    assert len(first.offers) == 2
    bench.decline_all(first, 1000)
    bench.wait(1)
    assert len(second.offers) == 2


def test_agents_are_shared_by_dominant_share() -> None:
    """Of two hungry frameworks each gets half of what is free."""
    bench = Bench(count=8)
    holder = bench.subscribe()
    first = bench.subscribe()
    second = bench.subscribe()
    bench.decline_all(holder, 1000)
    bench.wait(1)
    assert (len(first.offers), len(second.offers)) == (4, 4)


def test_suppressed_roles_get_no_offers_until_revived() -> None:
    bench = Bench()
    framework = bench.subscribe(roles=["a", "b"], capabilities=[{"type": "MULTI_ROLE"}])
    bench.decline_all(framework, 0)
    frameworks.suppress(framework, {"roles": ["a"]})
    bench.wait(1)
    assert {offer.role for offer in framework.offers.values()} == {"b"}
    bench.decline_all(framework, 0)
    frameworks.suppress(framework, {})
    bench.wait(5)
    assert not framework.offers
    frameworks.revive(bench.state, framework, {"roles": ["a"]}, bench.now)
    assert {offer.role for offer in framework.offers.values()} == {"a"}


def test_an_agent_that_joins_is_offered_at_once() -> None:
    bench = Bench(count=1)
    framework = bench.subscribe()
    agent_id = add_agent(bench.state, "late", bench.now)
    assert agent_id in {offer.agent_id for offer in framework.offers.values()}


def test_updates_are_repeated_after_ten_then_twenty_seconds_and_in_order() -> None:
    """Only the first unacknowledged update of a task is sent, so a slow framework sees no state skipped."""
    bench = Bench()
    framework = bench.subscribe()
    agent_id = bench.launch(framework, "t")
    second = base64.b64encode(bytes([9, 2, 3, 4, 5, 6, 0x47, 8, 0x89, 10, 11, 12, 13, 14, 15, 16])).decode()
    bench.report(framework, agent_id, "t", "TASK_RUNNING")
    bench.report(framework, agent_id, "t", "TASK_FINISHED", second)
    counts = []
    for _ in range(4):
        counts.append(len(bench.states(framework)))
        bench.wait(10)
    assert counts == [1, 2, 2, 3]
    acknowledged = {"task_id": {"value": "t"}, "agent_id": {"value": agent_id}, "uuid": UUID}
    tasks.acknowledge(bench.state, framework, acknowledged, bench.now)
    assert bench.states(framework)[-1] == "TASK_FINISHED"
    tasks.acknowledge(bench.state, framework, acknowledged, bench.now)
    assert "t" in framework.tasks
    tasks.acknowledge(bench.state, framework, {**acknowledged, "uuid": second}, bench.now)
    assert "t" not in framework.tasks
    assert [one.id for one in framework.completed_tasks] == ["t"]


def test_a_task_that_ended_frees_its_resources_before_it_is_acknowledged() -> None:
    bench = Bench(count=1)
    framework = bench.subscribe()
    agent_id = bench.launch(framework, "t", cpus=4, refuse=0)
    bench.report(framework, agent_id, "t", "TASK_FAILED")
    bench.wait(1)
    assert next(iter(framework.offers.values())).resources.scalar("cpus") == 4000


def test_a_kill_reaches_the_tasks_agent_with_its_grace() -> None:
    bench = Bench()
    framework = bench.subscribe()
    agent_id = bench.launch(framework, "t")
    policy = {"grace_period": {"nanoseconds": 1_500_000_000}}
    tasks.kill(bench.state, framework, {"task_id": {"value": "t"}, "kill_policy": policy}, bench.now)
    bench.look()
    expected = {"type": "kill", "framework_id": framework.id, "task_id": "t", "grace_seconds": 1.5}
    assert bench.messages[-1] == (agent_id, expected)


def test_a_lost_agent_rescinds_its_offers_and_loses_its_tasks() -> None:
    """Tasks of a framework that does not checkpoint are lost at once, the others when the agent is given up."""
    bench = Bench(count=2)
    plain = bench.subscribe(name="plain")
    agent_id = bench.launch(plain, "p", refuse=0)
    bench.decline_all(plain, 0)
    frameworks.suppress(plain, {})
    aware = bench.subscribe(name="aware", checkpoint=True, capabilities=[{"type": "PARTITION_AWARE"}])
    bench.wait(1)
    assert bench.launch(aware, "a", refuse=0) == agent_id
    bench.wait(1)
    agents.disconnected(bench.state, agent_id, bench.now)
    assert len(bench.of(aware, "RESCIND")) == 1
    assert [one for one in aware.offers.values() if one.agent_id == agent_id] == []
    assert bench.states(plain) == ["TASK_LOST"]
    assert bench.states(aware) == []
    bench.wait(3)
    assert bench.states(aware) == ["TASK_UNREACHABLE"]
    failure = {"type": "FAILURE", "failure": {"agent_id": {"value": agent_id}}}
    assert bench.of(aware, "FAILURE") == [failure]
    assert bench.of(plain, "FAILURE") == [failure]
    shown = [one["id"] for one in views.agents(bench.state)["slaves"]]
    assert agent_id not in shown


def test_a_silent_agent_is_given_up_after_five_pings() -> None:
    bench = Bench(count=1)
    framework = bench.subscribe()

    def look_but_never_answer() -> None:
        for action in bench.state.take_actions():
            if isinstance(action, Event):
                bench.events.setdefault(action.stream_id, []).append(action.event)

    bench.look = look_but_never_answer  # type: ignore[method-assign]
    bench.wait(75)
    assert not bench.of(framework, "FAILURE")
    bench.wait(16)
    assert len(bench.of(framework, "FAILURE")) == 1


def test_a_framework_that_is_gone_too_long_is_removed_with_its_tasks() -> None:
    bench = Bench()
    framework = bench.subscribe(failover_timeout=60)
    agent_id = bench.launch(framework, "t")
    assert framework.stream_id is not None
    frameworks.stream_closed(bench.state, framework.stream_id, bench.now)
    bench.wait(59)
    assert framework.id in bench.state.frameworks
    bench.wait(2)
    assert framework.id in bench.state.completed_frameworks
    assert (agent_id, {"type": "shutdown_framework", "framework_id": framework.id}) in bench.messages


def test_teardown_gives_everything_back() -> None:
    bench = Bench()
    framework = bench.subscribe()
    bench.launch(framework, "t")
    frameworks.remove(bench.state, framework, bench.now)
    bench.wait(0)
    other = bench.subscribe()
    assert sorted(offer.resources.scalar("cpus") for offer in other.offers.values()) == [4000, 4000]


def test_books_balance_whatever_happens() -> None:
    """After any sequence of calls: free + offered + used is what the agents have, on each agent."""
    for seed in range(20):
        chance = random.Random(seed)
        bench = Bench(count=3)
        members = [bench.subscribe(failover_timeout=3), bench.subscribe(checkpoint=True, failover_timeout=3)]
        for step in range(120):
            framework = chance.choice(members)
            what = chance.randrange(7)
            if what == 0 and framework.offers:
                bench.launch(framework, f"t{step}", chance.choice([0.5, 1, 4, 9]), chance.choice([0, 1, 5]))
            elif what == 1:
                bench.decline_all(framework, chance.choice([0, 2]))
            elif what == 2 and framework.tasks:
                one = chance.choice(list(framework.tasks.values()))
                bench.report(framework, one.agent_id, one.id, chance.choice(["TASK_RUNNING", "TASK_FAILED"]))
            elif what == 3:
                frameworks.revive(bench.state, framework, {}, bench.now)
            elif what == 4 and framework.stream_id is not None and chance.random() < 0.2:
                frameworks.stream_closed(bench.state, framework.stream_id, bench.now)
                members[members.index(framework)] = bench.subscribe(failover_timeout=3)
            elif what == 5 and chance.random() < 0.1:
                agents.disconnected(bench.state, chance.choice(bench.agents), bench.now)
            bench.wait(chance.random())
            for agent in bench.state.agents.values():
                offered = [
                    member.offers[offer_id].resources
                    for member in bench.state.frameworks.values()
                    for offer_id in agent.offers
                    if offer_id in member.offers
                ]
                used = [one.resources for one in agent.tasks.values() if one.holds_resources]
                booked = agent.available.scalar("cpus") + sum(one.scalar("cpus") for one in [*offered, *used])
                assert booked == 4000, f"seed {seed}, step {step}"


def test_a_cycle_with_a_thousand_agents_sends_one_event() -> None:
    bench = Bench(count=1000)
    framework = bench.subscribe()
    assert len(bench.of(framework, "OFFERS")) == 1
    assert len(framework.offers) == 1000
    bench.decline_all(framework, 0)
    offers.allocate(bench.state, bench.now)
    assert len(framework.offers) == 1000


def test_task_groups_and_checks_are_refused_with_a_sentence() -> None:
    bench = Bench()
    framework = bench.subscribe()
    offer = next(iter(framework.offers.values()))
    group = {"executor": {}, "task_group": {"tasks": [task("g", offer.agent_id)]}}
    checked = {**task("c", offer.agent_id), "health_check": {"type": "COMMAND"}}
    operations = [
        {"type": "LAUNCH_GROUP", "launch_group": group},
        {"type": "LAUNCH", "launch": {"task_infos": [checked]}},
    ]
    accepting.accept(
        bench.state, framework, {"offer_ids": [{"value": offer.id}], "operations": operations}, bench.now
    )
    statuses = [event["update"]["status"] for event in bench.of(framework, "UPDATE")]
    assert [one["state"] for one in statuses] == ["TASK_ERROR", "TASK_ERROR"]
    assert "task groups" in statuses[0]["message"]
    assert "health_check" in statuses[1]["message"]


def test_the_operator_tears_down_by_id() -> None:
    bench = Bench()
    framework = bench.subscribe()
    api = HttpApi(bench.state, None, {})

    def post(body: bytes) -> tuple[int, bytes]:
        answer = api.answer(Request("POST", "/master/teardown", {}, {}, body), bench.now)
        return answer.status, answer.body

    assert post(b"x=y") == (400, b"Missing 'frameworkId' query parameter in the request body")
    assert post(b"frameworkId=nope") == (400, b"No framework found with specified ID")
    assert post(f"frameworkId={framework.id}".encode()) == (200, b"")
    bench.look()
    assert bench.closed
    assert api.answer(Request("GET", "/teardown"), bench.now).status == 405


def test_read_endpoints_answer_under_both_forms() -> None:
    bench = Bench()
    bench.subscribe()
    api = HttpApi(bench.state, None, {"ip": "127.0.0.1"})
    for path in (
        "/state",
        "/slaves",
        "/frameworks",
        "/tasks",
        "/roles",
        "/flags",
        "/version",
        "/state-summary",
    ):
        plain = api.answer(Request("GET", path), bench.now)
        assert plain.status == 200
        assert api.answer(Request("GET", "/master" + path), bench.now).body == plain.body
    assert api.answer(Request("GET", "/redirect"), bench.now).headers["Location"] == "//127.0.0.1:5050"
    jsonp = api.answer(Request("GET", "/version", {"jsonp": "cb"}), bench.now)
    assert jsonp.body.startswith(b"cb({")
    assert api.answer(Request("GET", "/nosuch"), bench.now).status == 404
