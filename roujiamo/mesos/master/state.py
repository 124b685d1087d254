"""The records of a master, its timers, and the list of things that the server has to do.

Part of the local master's state. Everything that happens is a call of a function of this package with the time as an
argument; what has to be done about it (events to frameworks, messages to agents, streams to close) is queued as
actions, which the server takes with `take_actions` after each call. Times are seconds since 1970.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from roujiamo.mesos.master.quantities import Quantities

# What Mesos 1.11 keeps of what is over (--max_completed_frameworks, --max_completed_tasks_per_framework).
MAX_COMPLETED_FRAMEWORKS = 50
MAX_COMPLETED_TASKS = 1000

# How an agent stands with the master.
ACTIVE = "active"
DISCONNECTED = "disconnected"
UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class Settings:
    """What an operator may choose. All in seconds; defaults are those of Mesos 1.11."""

    allocation_interval_seconds: float = 1.0
    heartbeat_interval_seconds: float = 15.0
    update_retry_seconds: float = 10.0
    update_retry_max_seconds: float = 600.0
    agent_ping_seconds: float = 15.0
    agent_ping_timeouts: int = 5
    # A local agent whose connection broke cannot come back: it is given up after this (recorded: 3 s after its death).
    agent_removal_seconds: float = 3.0
    # None: offers are never withdrawn for their age.
    offer_timeout_seconds: float | None = None


@dataclass(frozen=True)
class Event:
    """Action: send `event` on the framework stream `stream_id`."""

    stream_id: str
    event: dict[str, Any]


@dataclass(frozen=True)
class CloseStream:
    """Action: end the framework stream `stream_id` in good order."""

    stream_id: str


@dataclass(frozen=True)
class ToAgent:
    """Action: send `message` to the agent `agent_id`."""

    agent_id: str
    message: dict[str, Any]


@dataclass(frozen=True)
class StartMachine:
    """Action: start the agents of a machine that the operator has brought up again."""

    hostname: str


Action = Event | CloseStream | ToAgent | StartMachine


@dataclass(frozen=True)
class AgentInfo:
    """What an agent says of itself when it registers, whether for the first time or again."""

    hostname: str
    ip: str
    port: int
    total: Quantities
    attributes: list[dict[str, Any]]


@dataclass(slots=True)
class Agent:
    id: str
    hostname: str
    ip: str
    port: int
    total: Quantities
    attributes: list[dict[str, Any]]
    registered_at: float
    available: Quantities
    standing: str = ACTIVE
    reregistered_at: float | None = None
    unreachable_at: float | None = None
    offers: set[str] = field(default_factory=set)
    # (framework id, task id) of what runs here; a dict for its order.
    tasks: dict[tuple[str, str], Task] = field(default_factory=dict)
    missed_pings: int = 0
    # While it is disconnected: when it will be given up.
    removal_at: float = 0.0

    @property
    def pid(self) -> str:
        """The libprocess address by which Mesos names an agent."""
        return f"slave(1)@{as_authority(self.ip, self.port)}"


@dataclass(slots=True)
class Offer:
    id: str
    framework_id: str
    agent_id: str
    role: str
    resources: Quantities


@dataclass(slots=True)
class Filter:
    resources: Quantities
    expires_at: float


@dataclass(slots=True)
class Task:
    id: str
    name: str
    framework_id: str
    agent_id: str
    role: str
    resources: Quantities
    labels: list[dict[str, Any]]
    state: str = "TASK_STAGING"
    statuses: list[dict[str, Any]] = field(default_factory=list)
    # Updates that the framework has not acknowledged, oldest first; only the first one is sent.
    pending: deque[dict[str, Any]] = field(default_factory=deque)
    retry_at: float = 0.0
    retry_seconds: float = 0.0
    holds_resources: bool = True
    # Its agent has registered again and told the latest state, however far the framework's acknowledgements are.
    is_latest_known: bool = False


@dataclass(slots=True)
class Framework:
    id: str
    info: dict[str, Any]
    principal: str | None
    roles: tuple[str, ...]
    registered_at: float
    capabilities: frozenset[str]
    reregistered_at: float | None = None
    unregistered_at: float = 0.0
    stream_id: str | None = None
    suppressed: set[str] = field(default_factory=set)
    # Known from its tasks on the agents only: it has not subscribed with this master yet.
    is_recovered: bool = False
    failover_at: float | None = None
    offers: dict[str, Offer] = field(default_factory=dict)
    filters: dict[tuple[str, str], list[Filter]] = field(default_factory=dict)
    # Inverse offers: id to agent's id; and until when an answer to one holds, by agent's id.
    inverse_offers: dict[str, str] = field(default_factory=dict)
    inverse_filters: dict[str, float] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    unreachable_tasks: dict[str, Task] = field(default_factory=dict)
    completed_tasks: deque[Task] = field(default_factory=lambda: deque(maxlen=MAX_COMPLETED_TASKS))
    # Scalars only, over all agents.
    used: Quantities = field(default_factory=Quantities)
    offered: Quantities = field(default_factory=Quantities)

    @property
    def is_connected(self) -> bool:
        return self.stream_id is not None

    @property
    def is_multi_role(self) -> bool:
        return "MULTI_ROLE" in self.capabilities

    @property
    def is_partition_aware(self) -> bool:
        return "PARTITION_AWARE" in self.capabilities

    @property
    def is_checkpointing(self) -> bool:
        return bool(self.info.get("checkpoint", False))


class Timers:
    """What is due when. A timer is never cancelled: whoever handles it looks whether it still means anything."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str, str]] = []
        self._count = 0

    def schedule(self, when: float, kind: str, key: str = "") -> None:
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, kind, key))

    def due(self, now: float) -> Iterator[tuple[str, str]]:
        while self._heap and self._heap[0][0] <= now:
            _, _, kind, key = heapq.heappop(self._heap)
            yield kind, key

    @property
    def next_deadline(self) -> float | None:
        return self._heap[0][0] if self._heap else None


class MasterState:
    """Everything that one master knows.

    `new_uuid` returns a fresh UUID's text, `shuffle` puts a list in random order (the allocator offers agents in no
    particular order, as a master does).
    """

    def __init__(
        self,
        settings: Settings,
        address: tuple[str, int],
        now: float,
        new_uuid: Callable[[], str],
        shuffle: Callable[[list[Any]], None],
    ) -> None:
        self.settings = settings
        self.id = new_uuid()
        self.ip, self.port = address
        self.started_at = now
        self.new_uuid = new_uuid
        self.shuffle = shuffle
        self.agents: dict[str, Agent] = {}
        # Agents with something to offer, so that an allocation looks at no others. A dict for its order.
        self.free_agents: dict[str, Agent] = {}
        self.frameworks: dict[str, Framework] = {}
        self.completed_frameworks: OrderedDict[str, Framework] = OrderedDict()
        self.streams: dict[str, str] = {}
        self.total = Quantities()
        self.role_allocations: dict[str, Quantities] = {}
        # What UPDATE_QUOTA set, by role: {"role": ..., "limits": {name: {"value": ...}}}.
        self.quotas: dict[str, dict[str, Any]] = {}
        # Agents that the operator declared gone for good.
        self.gone_agents: set[str] = set()
        self.timers = Timers()
        self.allocation_at: float | None = None
        # The operator's maintenance schedule, as it came; what frameworks answered, by agent's id and their own.
        self.schedule: dict[str, Any] = {}
        # Machines by (hostname, ip): those that ever stood in a schedule, and those that were brought down.
        self.scheduled_machines: set[tuple[str, str]] = set()
        self.down_machines: dict[tuple[str, str], None] = {}
        self.inverse_answers: dict[str, dict[str, dict[str, Any]]] = {}
        # Agents that an earlier master knew and that have not come to this one yet (the real master's registry).
        self.recovered_agents: set[str] = set()
        self._actions: list[Action] = []
        self._offers = 0
        self._frameworks = 0
        self._agents = 0

    def take_actions(self) -> list[Action]:
        """The actions since the last time, in order."""
        actions, self._actions = self._actions, []
        return actions

    def act(self, action: Action) -> None:
        self._actions.append(action)

    def send(self, framework: Framework, event: dict[str, Any]) -> None:
        """Queue `event` for a framework; one that is not connected gets nothing, as in Mesos."""
        if framework.stream_id is not None:
            self._actions.append(Event(framework.stream_id, event))

    def new_offer_id(self) -> str:
        self._offers += 1
        return f"{self.id}-O{self._offers - 1}"

    def new_framework_id(self) -> str:
        self._frameworks += 1
        return f"{self.id}-{self._frameworks - 1:04d}"

    def new_agent_id(self) -> str:
        self._agents += 1
        return f"{self.id}-S{self._agents - 1}"

    @property
    def authority(self) -> str:
        """The master's host:port."""
        return as_authority(self.ip, self.port)

    @property
    def pid(self) -> str:
        return f"master@{self.authority}"


def as_authority(ip: str, port: int) -> str:
    """host:port, with the brackets that an IPv6 address needs (RFC 3986 section 3.2.2)."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
