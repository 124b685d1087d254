"""The gang allocator: all the hosts of a session at once, or none of them.

Pure; used by the broker, which tells it what the master's events say and does what the returned decisions say. `now`
is any clock that does not go backwards, in seconds. The master is trusted.

    WAITING --fitting offer--> HOLDING --complete--> SATISFIED --replace, add_host--> WAITING
       ^                          | no more comes
       +----- time to ask ----- RESTING

- An offer that cannot help is declined at once, with a long filter: Mesos offers that agent again only when it has
  more than what was declined (a filter refuses subsets), or after a REVIVE.
- An offer that helps is held, but where no more comes all go back, and a while later the gang asks again: whoever does
  so while the others rest gets them all. For how long and how often is `patience`'s; of two that hold each other up
  both finish.
- A gang that the master's agents cannot ever make complete holds nothing and does not ask; it listens for new agents.
- Complete: one Accept an agent, the rest is declined, and SUPPRESS keeps further offers away. When a host must be
  replaced, REVIVE brings them back.
- One ACCEPT is for one role. Of an agent that is offered in several, the role in which it can do most is kept and the
  others are declined: the master offers in one role what it has back from another, and so resources come together.
  That takes an allocation interval, for which what is held stays, however little of the gang it is.
- An agent on which a host failed is used again only where nothing else completes the gang while it is held, and never
  after it failed twice.

Each step costs in proportion to the offers in it; the whole set is looked at only when it completes. What it decides on
is one module, as each step looks at the same few sums.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from roujiamo.mesos import role_quota, shortage
from roujiamo.mesos.decisions import Accept, Batch, Decision, Decline, Revive, Suppress
from roujiamo.mesos.demand import PACK, SPREAD, Demand
from roujiamo.mesos.eligibility import Eligibility
from roujiamo.mesos.held import HeldAgent, HeldOffers
from roujiamo.mesos.offers import Agent, Offer, parse_agent, parse_offer
from roujiamo.mesos.patience import HOLD_SECONDS, Patience
from roujiamo.mesos.placement import Placed, place_shares, place_slots
from roujiamo.mesos.resources import JSON, Resources, take, take_all
from roujiamo.mesos.role_quota import RoleQuota
from roujiamo.mesos.roles import in_one_role
from roujiamo.mesos.split import split_evenly
from roujiamo.session.names import HostNames

__all__ = [
    "HOLD_SECONDS",
    "PACK",
    "SPREAD",
    "Accept",
    "Decision",
    "Decline",
    "Demand",
    "GangAllocator",
    "Revive",
    "Suppress",
]

# Until the agent has more, a REVIVE, or this: an attribute or a maintenance window may change without either.
LONG_REFUSAL_SECONDS = 600.0
# Each REVIVE makes the master allocate at once; hosts that are asked for one by one share one.
REVIVE_SPACING_SECONDS = 0.5


class GangAllocator:
    """Decides about offers for one session.

    `roles` are those of the framework; `random` returns floats in [0, 1). Call `on_tick` at `next_deadline()`.
    Each `on_…` call, `replace` and `add_host` return the decisions to carry out, in their order.
    """

    def __init__(
        self,
        demand: Demand,
        roles: Sequence[str],
        hold_seconds: float,
        now: float,
        random: Callable[[], float],
    ) -> None:
        self._demand = demand
        self._roles = tuple(roles)
        self._eligibility = Eligibility(demand)
        # What is still missing: shares of hosts where their number was given, slots where it was not.
        self._shares: list[int] = []
        self._sizes: list[
            tuple[int, int]
        ] = []  # each size of a share, and how many shares are at least as large
        self._slots = demand.slots if demand.is_flexible else 0
        self._wants: dict[str, int] = {}  # hosts asked for by name, and their slots
        self._wanted = HostNames()
        self._hosts: dict[str, Placed] = {}
        self._names: dict[str, str] = {}  # agent id -> the name a host was asked for
        self._held = HeldOffers()
        self._quotas: tuple[RoleQuota, ...] = ()
        self._seen: dict[str, str] = {}  # agent id -> why it cannot help, or ""
        self._held_before = 0  # agents (or slots) that were held last, to tell while nothing is held
        self._hold_seconds = hold_seconds
        self._random = random
        self._patience = Patience(hold_seconds, now, random)
        self._is_more_due = False  # what was declined in one role while it is held in another
        self._is_hopeless = False  # all agents together could not complete the gang
        self._is_list_outdated = False
        self._is_suppressed = False
        self._revive_at: float | None = None  # what was asked for in between, once a spacing is over
        self._revived_at = now - REVIVE_SPACING_SECONDS
        self._miss_shares(split_evenly(demand.slots, demand.hosts) if demand.hosts else [])

    @property
    def is_satisfied(self) -> bool:
        """True where every host that was asked for has been accepted."""
        return not self._shares and not self._slots and not self._wants

    @property
    def held(self) -> int:
        """How many agents' offers are held now."""
        return len(self._held)

    def next_deadline(self) -> float | None:
        """Return when `on_tick` has something to do, or None."""
        times = (self._patience.next_deadline(), self._revive_at)
        return min((each for each in times if each is not None), default=None)

    @property
    def is_list_outdated(self) -> bool:
        """True where the list of agents gave no hope, and an agent was offered that is not in it."""
        return self._is_list_outdated

    def learn_agents(self, agents: Iterable[JSON]) -> None:
        """Take in the `slaves` list of GET /slaves: whose GPUs are in use, and what is a whole agent."""
        self._eligibility.learn(parse_agent(each, self._roles) for each in agents)
        self._is_list_outdated = False

    def learn_quotas(self, roles: Iterable[JSON]) -> None:
        """Take in the `roles` list of GET /roles: what the framework's roles may use at most."""
        self._quotas = role_quota.parse_quotas(roles, self._roles)

    def reconsider(self, now: float) -> list[Decision]:
        """Agents or quotas were learnt: see whether all agents together could complete the gang, and act on it."""
        was_hopeless = self._is_hopeless
        self._is_hopeless = self._why_impossible(self._eligibility.known, {}) is not None
        batch = Batch()
        is_deaf = self._is_hopeless and self._is_suppressed
        if not self.is_satisfied and (is_deaf or (was_hopeless and not self._is_hopeless)):
            self._want_offers(batch, now)
        return self._settle(batch, now)

    def on_offers(self, offers: Iterable[JSON], now: float) -> list[Decision]:
        """Take in an OFFERS event's list of v1 Offers."""
        batch = Batch()
        fresh: dict[str, list[Offer]] = {}
        for each in offers:
            offer = parse_offer(each, self._roles[0])
            if offer.role in self._roles:
                fresh.setdefault(offer.agent_id, []).append(offer)
            else:
                # A role that was given up meanwhile.
                batch.decline([offer], LONG_REFUSAL_SECONDS)
        self._patience.note_offers(len(fresh))
        for agent_id, of_agent in fresh.items():
            self._consider(agent_id, of_agent, batch)
        return self._settle(batch, now)

    def on_rescind(self, offer_id: str, now: float) -> list[Decision]:
        """Forget an offer that the master took back."""
        agent_id = self._held.agent_of(offer_id)
        batch = Batch()
        if agent_id is not None:
            rest = [each for each in self._held.drop(agent_id).offers if each.id != offer_id]
            if rest:
                self._consider(agent_id, rest, batch)
        return self._settle(batch, now)

    def on_subscribed(self, now: float) -> list[Decision]:
        """After every SUBSCRIBED: offers of an earlier connection are void.

        The master has forgotten a SUPPRESS, but the driver repeats the last one: who rested asks again.
        """
        batch = Batch()
        was_suppressed = self._is_suppressed
        for agent_id in self._held:
            self._held.drop(agent_id)
        self._revive_at = None
        self._is_suppressed = False
        self._patience = Patience(self._hold_seconds, now, self._random)
        if was_suppressed and not self.is_satisfied:
            self._revive(batch, now)
        return self._settle(batch, now)

    def on_tick(self, now: float) -> list[Decision]:
        """The time of `next_deadline` has come."""
        batch = Batch()
        patience = self._patience
        is_over = patience.hold_until is not None and now >= patience.hold_until
        if is_over and not self._complete(batch, with_last_resort=True):
            self._give_back(batch, now)
        elif any(each is not None and now >= each for each in (patience.ask_at, self._revive_at)):
            self._revive(batch, now)
        elif patience.close_at is not None and now >= patience.close_at:
            patience.close(now)
            self._suppress(batch)
        return self._settle(batch, now)

    def replace(self, agent_id: str, now: float, *, is_agents_fault: bool = True) -> list[Decision]:
        """A host failed before it was ready: get another one for its slots, elsewhere if possible.

        With `is_agents_fault` false (the offer was void before the ACCEPT arrived) the agent is as good as any.
        """
        host = self._hosts.pop(agent_id, None)
        batch = Batch()
        if host is None:
            return []
        if is_agents_fault:
            self._eligibility.count_failure(agent_id)
        if agent_id in self._names:
            self._want(self._names.pop(agent_id), host.slots)
        elif self._demand.is_flexible:
            self._slots += host.slots
        else:
            self._miss_shares([*self._shares, host.slots])
        self._want_offers(batch, now)
        return self._settle(batch, now)

    def add_host(self, name: str, slots: int, now: float) -> list[Decision]:
        """Ask for the agent called `name`, by itself: it becomes a host as soon as it is offered with enough.

        `name` is a host's name or an agent's id; where several agents share the name, any of them will do.
        """
        batch = Batch()
        self._want(name, slots)
        self._want_offers(batch, now)
        return self._settle(batch, now)

    def withdraw_host(self, name: str, now: float) -> list[Decision]:
        """Wait no longer for a host that was asked for by name."""
        if name in self._wants:
            self._forget_want(name)
        return self._settle(Batch(), now)

    def is_impossible(self, agents: Iterable[JSON]) -> str | None:
        """Return why these agents (GET /slaves), or the roles' quotas, can never satisfy the demand; or None.

        No agents at all prove nothing: after a master's restart they come back one by one.
        """
        return self._why_impossible([parse_agent(each, self._roles) for each in agents], self._wants)

    def _why_impossible(self, known: Sequence[Agent], wants: Mapping[str, int]) -> str | None:
        if reason := role_quota.beyond(self._quotas, self._roles, self._demand.least):
            return reason
        return shortage.impossible(self._demand, known, wants)

    def explain(self, agents: Sequence[JSON] | None = None) -> str:
        """Return one sentence on what is missing; `agents` is the `slaves` list of GET /slaves, where there is one."""
        if self.is_satisfied:
            return "all hosts are there"
        if agents and (reason := self.is_impossible(agents)):
            return reason
        known = None if agents is None else [parse_agent(each, self._roles) for each in agents]
        sizes = [*self._shares, *self._wants.values(), *([self._slots] if self._slots else [])]
        missing = sum((self._demand.size_of(each) for each in sizes), Resources())
        return shortage.waiting(
            self._demand,
            self._shares,
            self._slots,
            self._wants,
            len(self._hosts),
            self._held_count(),
            self._seen,
            known,
        ) + role_quota.waiting(self._quotas, self._roles, missing, len(sizes))

    def _held_count(self) -> int:
        """Held agents, or slots on them; while nothing is held, what the last hold had."""
        if not self._held:
            return self._held_before
        capacities = self._held.capacities
        return capacities.slots if self._demand.is_flexible else capacities.count(1)

    # -- one agent's offers

    def _consider(self, agent_id: str, offers: Sequence[Offer], batch: Batch) -> None:
        """Accept, hold or decline the fresh `offers` of one agent, together with what is held of it."""
        if agent_id in self._held:
            offers = [*self._held.drop(agent_id).offers, *offers]
        hostname = offers[0].hostname
        name = agent_id if agent_id in self._wants else self._wanted.find(hostname)
        limit = min(self._demand.slot_limit, self._slots) if self._slots else self._largest_share
        wanted = None if name is None else self._wants[name]
        offers, others, free = in_one_role(offers, self._roles, self._demand, limit, wanted)
        batch.decline(others, LONG_REFUSAL_SECONDS)
        if agent_id in self._hosts:
            objection = shortage.IS_HOST
        else:
            objection = self._eligibility.objection(offers, free)
        if not objection and name is not None:
            slots = self._wants[name]
            if self._demand.size_of(slots).is_within(free):
                self._forget_want(name)
                self._names[agent_id] = name
                self._seen[agent_id] = ""
                self._accept(Placed(agent_id, slots), hostname, offers, batch)
                return
            objection = shortage.TOO_SMALL
        if self._is_hopeless:
            self._is_list_outdated |= not self._eligibility.is_known(agent_id)
            self._seen[agent_id] = objection
            batch.decline(offers, LONG_REFUSAL_SECONDS)
            return
        capacity = 0 if objection else self._demand.slots_within(free, limit)
        if capacity >= self._smallest_share:
            is_last_resort = self._eligibility.is_last_resort(agent_id)
            self._held.keep(HeldAgent(agent_id, hostname, tuple(offers), free, capacity, is_last_resort))
            self._is_more_due = self._is_more_due or bool(others)
        else:
            objection = objection or (shortage.TOO_SMALL if limit else "")
            batch.decline(offers, LONG_REFUSAL_SECONDS)
        self._seen[agent_id] = objection

    # -- the gang

    def _settle(self, batch: Batch, now: float) -> list[Decision]:
        """Complete the gang if that is possible now; else hold, give back or see to it that it is asked for again."""
        self._complete(batch, with_last_resort=False)
        patience = self._patience
        if self._held:
            if self._is_hopeless:
                self._decline_held(batch, LONG_REFUSAL_SECONDS)
            elif self._is_suppressed:
                # On its way when the gang began to rest.
                self._give_back(batch, now)
            else:
                held = self._held.capacities.slots if self._slots else len(self._held)
                is_most = self._is_more_due or 2 * held > (self._slots or len(self._shares))
                patience.hold(held, now, is_most=is_most)
        else:
            self._is_more_due = False
            patience.listen()
        if self.is_satisfied:
            self._revive_at = None
            patience.end(now)
            self._suppress(batch)
        elif self._is_hopeless or not (self._shares or self._slots):
            patience.end(now)
        return batch.decisions()

    def _suppress(self, batch: Batch) -> None:
        if not self._is_suppressed:
            self._is_suppressed = True
            batch.last.append(Suppress())

    def _complete(self, batch: Batch, *, with_last_resort: bool) -> bool:
        """Accept the whole gang if the held offers suffice, and give the others back."""
        if not (self._shares or self._slots):
            return False
        if not with_last_resort and not self._is_within_reach():
            return False
        candidates = self._held.candidates(with_last_resort=with_last_resort)
        placement = self._demand.placement
        if self._slots:
            placed = place_slots(candidates, self._slots, placement)
        else:
            placed = place_shares(candidates, self._shares, placement)
        if placed is None:
            return False
        self._miss_shares([])
        self._slots = 0
        for each in placed:
            held = self._held.drop(each.agent_id)
            self._accept(each, held.hostname, held.offers, batch)
        self._decline_held(batch, LONG_REFUSAL_SECONDS)
        return True

    def _is_within_reach(self) -> bool:
        """Tell from the counts alone whether the held offers complete the gang."""
        capacities = self._held.capacities
        if self._slots:
            return capacities.slots >= self._slots
        # An even split has at most two sizes.
        return all(capacities.count(size) >= needed for size, needed in self._sizes)

    def _accept(self, placed: Placed, hostname: str, offers: Sequence[Offer], batch: Batch) -> None:
        offered = [resource for each in offers for resource in each.resources]
        role = offers[0].role
        if self._demand.exclusive:
            resources = take_all(offered, role)
        else:
            resources = take(offered, self._demand.size_of(placed.slots), role)
        ids = tuple(each.id for each in offers)
        name = self._names.get(placed.agent_id)
        batch.accepts.append(Accept(placed.agent_id, hostname, ids, placed.slots, resources, name))
        self._hosts[placed.agent_id] = placed

    def _decline_held(self, batch: Batch, refuse_seconds: float) -> None:
        for agent_id in self._held:
            batch.decline(self._held.drop(agent_id).offers, refuse_seconds)

    def _give_back(self, batch: Batch, now: float) -> None:
        self._held_before = self._held_count()
        self._decline_held(batch, self._patience.give_back(now))
        self._is_more_due = False
        self._suppress(batch)

    # -- what is missing

    def _miss_shares(self, shares: list[int]) -> None:
        self._shares = shares
        self._sizes = [(size, sum(share >= size for share in shares)) for size in set(shares)]
        # Asked for each agent: 0 and 1 where it is slots that are missing, or nothing.
        self._largest_share = max(shares, default=0)
        self._smallest_share = min(shares, default=1)

    def _want(self, name: str, slots: int) -> None:
        if name not in self._wants:
            self._wanted.add(name)
        self._wants[name] = slots

    def _forget_want(self, name: str) -> None:
        del self._wants[name]
        self._wanted.remove(name)

    def _want_offers(self, batch: Batch, now: float) -> None:
        """Something more is missing: try it with what is held, and ask for what was declined."""
        for agent_id in self._held:
            self._consider(agent_id, self._held.drop(agent_id).offers, batch)
        earliest = self._revived_at + REVIVE_SPACING_SECONDS
        if now >= earliest:
            self._revive(batch, now)
        elif self._revive_at is None:
            self._revive_at = earliest
            self._patience.close_at = None

    def _revive(self, batch: Batch, now: float) -> None:
        self._revive_at = None
        self._revived_at = now
        self._is_suppressed = False
        if self._shares or self._slots:
            self._patience.ask(now)
        batch.last.append(Revive())
