"""A small model of a Mesos master's allocator, for races between sessions in simulated time.

Imported by the tests of the gang allocator. It does what docs/allocation-modules.md and the hierarchical allocator do
as far as a race depends on it: each allocation interval, and at once when a framework subscribes or revives, it goes
through the agents in random order and gives all that is free of an agent to one framework that does not refuse it, in
one of its roles: to that with the smallest share, and among equals to that which was given something least often. So
of frameworks that have nothing yet each gets one agent. A filter refuses what it contains, in its role, and at least
until the next allocation. What a framework and the master say to each other is on its way for a moment.
"""

import heapq
import itertools

from roujiamo.mesos.decisions import Accept, Decline, Revive, Suppress
from roujiamo.mesos.resources import Resources, sum_scalars

ALLOCATION_INTERVAL = 1.0
# One way, with what the broker and its driver take for it.
LEAST_LATENCY, MOST_LATENCY = 0.005, 0.025


def scalars(cpus, mem, role="*"):
    return [
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": cpus}, "allocation_info": {"role": role}},
        {"name": "mem", "type": "SCALAR", "scalar": {"value": mem}, "allocation_info": {"role": role}},
    ]


def offer(number, agent, cpus=4.0, mem=4096.0, role="*", **more):
    """A v1 Offer of agent `agent`."""
    return {
        "id": {"value": f"O{number}"},
        "agent_id": {"value": f"S{agent}"},
        "hostname": f"agent{agent}",
        "allocation_info": {"role": role},
        "resources": scalars(cpus, mem, role),
        **more,
    }


class Framework:
    """One session on the model: its allocator, and what it got."""

    def __init__(self, name, demand, allocator, job_seconds, roles=("*",)):
        self.name = name
        self.needs = demand.hosts
        self.host_size = demand.size_of(demand.slot_limit)
        self.roles = roles
        self.allocator = allocator
        self.job_seconds = job_seconds
        self.latency = MOST_LATENCY
        self.is_suppressed = False
        self.is_over = False
        self.filters = {}  # (agent, role) -> (resources, until)
        self.offered = {}  # offer id -> (agent, role, resources, since)
        self.hosts = []  # (agent, role, resources)
        self.joined_at = None
        self.done_at = None
        self.longest_hold = 0.0
        self.times_given = 0
        self.revives = 0

    def share(self):
        return sum(self.share_in(role) for role in self.roles)

    def share_in(self, wanted):
        allocated = [*((role, free) for _, role, free, _ in self.offered.values())]
        allocated += [(role, used) for _, role, used in self.hosts]
        return sum(resources.cpus for role, resources in allocated if role == wanted)


class Master:
    """Agents of equal size, frameworks that join at given times, and a queue of what happens when."""

    def __init__(self, agents, random, size=None):
        self.size = size or Resources(cpus=4, mem=4096)
        self.free = dict.fromkeys(range(agents), self.size)
        self.random = random
        self.frameworks = []
        self.now = 0.0
        self.queue = [(0.0, 0, self.allocate_and_repeat)]
        self.order = itertools.count(1)
        self.offer_ids = itertools.count(1)
        self.waste_since = None
        self.longest_waste = 0.0

    def at(self, when, action):
        heapq.heappush(self.queue, (when, next(self.order), action))

    def join(self, framework, when):
        framework.latency = self.random.uniform(LEAST_LATENCY, MOST_LATENCY)
        self.at(when, lambda: self.subscribe(framework))

    def subscribe(self, framework):
        framework.joined_at = self.now
        self.frameworks.append(framework)
        self.allocate()
        self.obey(framework, framework.allocator.on_subscribed(self.now))

    def subscribe_again(self, framework):
        """Its connection was lost: its offers are void, and its driver repeats the last SUPPRESS behind the event."""
        for each in list(framework.offered):
            self.take_back(framework, each)
        framework.filters.clear()
        was_suppressed, framework.is_suppressed = framework.is_suppressed, False
        self.allocate()
        framework.is_suppressed = was_suppressed
        self.obey(framework, framework.allocator.on_subscribed(self.now))

    def run(self, is_over, limit):
        """Let time pass until `is_over()`; AssertionError past `limit` simulated seconds."""
        while not is_over():
            self.now, _, action = heapq.heappop(self.queue)
            assert self.now <= limit, f"not over after {limit} simulated seconds"
            action()
            self.note_waste()

    def note_waste(self):
        """Note for how long enough agents were unused by any job for a session that waited."""
        used = dict.fromkeys(self.free, Resources())
        for each in self.frameworks:
            for agent, _, resources in each.hosts:
                used[agent] += resources
        if any(
            sum(each.host_size.is_within(self.size - busy) for busy in used.values()) >= each.needs
            for each in self.frameworks
            if each.done_at is None
        ):
            if self.waste_since is None:
                self.waste_since = self.now
            self.longest_waste = max(self.longest_waste, self.now - self.waste_since)
        else:
            self.waste_since = None

    def allocate_and_repeat(self):
        self.allocate()
        self.at(self.now + ALLOCATION_INTERVAL, self.allocate_and_repeat)

    def allocate(self):
        fresh = {}
        agents = [agent for agent, free in self.free.items() if free]
        self.random.shuffle(agents)
        for agent in agents:
            free = self.free[agent]
            candidates = [
                (each, role)
                for each in self.frameworks
                for role in each.roles
                if self.is_open(each, role, agent, free)
            ]
            if candidates:
                chosen, role = min(candidates, key=self.rank)
                number = next(self.offer_ids)
                chosen.offered[f"O{number}"] = (agent, role, free, self.now)
                chosen.times_given += 1
                self.free[agent] = Resources()
                fresh.setdefault(chosen.name, (chosen, []))[1].append(
                    offer(number, agent, free.cpus, free.mem, role)
                )
        for framework, offers in fresh.values():
            self.at(self.now + framework.latency, lambda f=framework, o=offers: self.deliver(f, o))

    def deliver(self, framework, offers):
        # What a lost connection has swallowed does not arrive.
        offers = [each for each in offers if each["id"]["value"] in framework.offered]
        self.obey(framework, framework.allocator.on_offers(offers, self.now))

    def rank(self, candidate):
        """Who is offered an agent first: the smallest role's, and in it the smallest framework."""
        framework, role = candidate
        in_role = sum(each.share_in(role) for each in self.frameworks)
        return in_role, framework.share(), framework.times_given, framework.name, role

    def is_open(self, framework, role, agent, free):
        if framework.is_suppressed or framework.is_over:
            return False
        refused, until = framework.filters.get((agent, role), (Resources(), 0.0))
        return self.now > until or not free.is_within(refused)

    def obey(self, framework, decisions):
        """What the session has decided reaches the master a moment later; it asks to be called again in time."""
        if decisions:
            self.at(self.now + framework.latency, lambda: self.carry_out(framework, decisions))
        deadline = framework.allocator.next_deadline()
        if deadline is not None:
            self.at(max(deadline, self.now), lambda: self.tick(framework))

    def carry_out(self, framework, decisions):
        for decision in decisions:
            match decision:
                case Accept():
                    self.accept(framework, decision)
                case Decline(offer_ids, refuse_seconds):
                    for each in set(offer_ids).intersection(framework.offered):
                        agent, role, resources = self.take_back(framework, each)
                        until = self.now + max(refuse_seconds, ALLOCATION_INTERVAL)
                        framework.filters[agent, role] = (resources, until)
                case Suppress():
                    framework.is_suppressed = True
                case Revive():
                    framework.is_suppressed = False
                    framework.filters.clear()
                    framework.revives += 1
                    self.at(self.now, self.allocate)
        if framework.allocator.is_satisfied and framework.hosts and framework.done_at is None:
            framework.done_at = self.now
            self.at(self.now + framework.job_seconds, lambda: self.end(framework))

    def tick(self, framework):
        deadline = framework.allocator.next_deadline()
        if deadline is not None and deadline <= self.now:
            self.obey(framework, framework.allocator.on_tick(self.now))

    def accept(self, framework, decision):
        given = [self.take_back(framework, each) for each in decision.offer_ids]
        agent, role, _ = given[0]
        assert {each[:2] for each in given} == {(agent, role)}, (
            "one ACCEPT takes offers of one agent in one role"
        )
        assert {each["allocation_info"]["role"] for each in decision.resources} == {role}
        used = sum_scalars(decision.resources, role)
        assert used.is_within(self.free[agent])
        self.free[agent] -= used
        framework.hosts.append((agent, role, used))

    def take_back(self, framework, offer_id):
        agent, role, resources, since = framework.offered.pop(offer_id)
        framework.longest_hold = max(framework.longest_hold, self.now - since)
        self.free[agent] += resources
        return agent, role, resources

    def end(self, framework):
        framework.is_over = True
        for agent, _, used in framework.hosts:
            self.free[agent] += used
        framework.hosts.clear()
