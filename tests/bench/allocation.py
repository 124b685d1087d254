"""The gang allocator and the local master, with thousands of agents: both are pure, so no agent is needed.

Imported by the benchmarks only. The figures are CPU seconds of this process.
"""

from __future__ import annotations

import gc
import json
import random
import time

from roujiamo.mesos.constraints import parse_constraint
from roujiamo.mesos.gang import Accept, Demand, GangAllocator
from roujiamo.mesos.master import accepting
from roujiamo.mesos.master import agents as agent_calls
from roujiamo.mesos.master import frameworks as framework_calls
from roujiamo.mesos.master.messages import parse_call
from roujiamo.mesos.master.state import Event, MasterState
from roujiamo.mesos.recordio import encode
from roujiamo.mesos.resources import Resources
from roujiamo.system.programs import collect_rarely
from tests.bench.figures import Result
from tests.bench.offers import offer
from tests.mesos.master.replay import add_agent, make_master

TIMES_LINEAR = 1.5


def gang(small: bool) -> Result:
    """Offers of all agents at once, 100 constraints, and a gang of half of them."""
    result = Result()
    sizes = (100, 200) if small else (1000, 3000, 10_000)
    medians = {}
    for agents in sizes:
        seconds = [_gang_seconds(agents) for _ in range(1 if small else 7)]
        medians[agents] = result.add(f"{agents} agents: CPU", "s", *seconds).median
    last = sizes[-1]
    result.expect(f"{last} agents", medians[last], 0.5, "s")
    growth = medians[last] / last / (medians[sizes[0]] / sizes[0])
    result.expect(f"per agent, of what it is at {sizes[0]}", growth, TIMES_LINEAR)
    return result


def _gang_seconds(agents: int) -> float:
    collect_rarely()
    offers = [offer(number) for number in range(agents)]
    constraints = tuple(
        parse_constraint(text)
        for number in range(20)
        for text in (
            f"rack!=r{1000 + number}",
            f"zone~z[0-9]+|x{number}",
            f"generation>={number % 5}",
            f"hostname!=other{number}",
            f"disk!=hdd{number}",
        )
    )
    demand = Demand(agents // 2, agents, Resources(cpus=1, mem=512), constraints=constraints)
    allocator = GangAllocator(demand, ("*",), 3.0, 0.0, random.Random(1).random)
    gc.collect()
    begun = time.process_time()
    decisions = allocator.on_offers(offers, 1.0)
    seconds = time.process_time() - begun
    assert sum(isinstance(each, Accept) for each in decisions) == agents // 2
    return seconds


def master(small: bool) -> Result:
    """A cycle: all agents are offered to one framework, which declines them; the JSON of both is made and read."""
    result = Result()
    sizes = (20, 40) if small else (300, 1000, 3000)
    medians = {}
    for count in sizes:
        state, framework = _master(count)
        seconds = [_cycle(state, framework, float(number)) for number in range(1, 3 if small else 8)]
        medians[count] = result.add(f"{count} agents: CPU", "s", *seconds).median
    middle = sizes[1]
    result.expect(f"{middle} agents", medians[middle], 0.2, "s")
    growth = medians[sizes[-1]] / sizes[-1] / (medians[sizes[0]] / sizes[0])
    result.expect(f"per agent, of what it is at {sizes[0]}", growth, TIMES_LINEAR)
    return result


def _master(agents: int) -> tuple[MasterState, str]:
    state = make_master(now=0.0)
    for number in range(agents):
        add_agent(state, f"node{number}.example.com", 0.0)
    info = {"user": "root", "name": "bench", "roles": ["*"], "capabilities": [{"type": "MULTI_ROLE"}]}
    stream = framework_calls.subscribe(state, {"framework_info": info}, None, 0.0)
    return state, state.streams[stream]


def _cycle(state: MasterState, framework_id: str, now: float) -> float:
    """CPU seconds from one beat of the allocator to the next, as the server would do it."""
    framework = state.frameworks[framework_id]
    gc.collect()
    begun = time.process_time()
    offers = [
        each["id"]["value"]
        for action in state.take_actions()
        if isinstance(action, Event) and action.event["type"] == "OFFERS"
        for each in json.loads(encode(json.dumps(action.event).encode()).partition(b"\n")[2])["offers"][
            "offers"
        ]
    ]
    assert len(offers) == len(state.agents)
    call = {
        "type": "DECLINE",
        "framework_id": {"value": framework_id},
        "decline": {"offer_ids": [{"value": each} for each in offers], "filters": {"refuse_seconds": 0}},
    }
    parsed = parse_call(json.dumps(call).encode())
    accepting.decline(state, framework, parsed["decline"], now)
    agent_calls.tick(state, now + 1.0)
    return time.process_time() - begun
