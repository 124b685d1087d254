"""From offers to tasks: what the gang allocator decides, as calls of the driver.

Runs in the broker. The decisions are the allocator's (pure, `roujiamo.mesos.gang`); here they get task ids,
first-contact tokens, and the command that each task runs.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, NamedTuple

from roujiamo.mesos.constraints import parse_constraint
from roujiamo.mesos.demand import PACK, SPREAD, Demand
from roujiamo.mesos.framework_info import framework_info, parse_roles
from roujiamo.mesos.gang import (
    HOLD_SECONDS,
    Accept,
    Decision,
    Decline,
    GangAllocator,
    Revive,
    Suppress,
)
from roujiamo.mesos.resources import Resources
from roujiamo.mesos.split import SlotPlan, plan_slots
from roujiamo.mesos.taskinfo import (
    DOCKER,
    Container,
    RLimit,
    container_info,
    launch_operation,
    parse_rlimit,
    parse_volume,
    task_info,
)
from roujiamo.protocol.handshake import SECRET_SIZE
from roujiamo.proxy.bootstrap import bootstrap_command
from roujiamo.session.request import SessionRequest

Call = Callable[..., None]

MEMLOCK = "MEMLOCK"

# How long Mesos keeps what is left of an accepted offer from us: we want nothing more of that agent.
REFUSE_SECONDS = 5.0
# Between SIGTERM and SIGKILL at a KILL of Mesos: the proxy ends its commands in that time.
KILL_GRACE_SECONDS = 5.0


class Launch(NamedTuple):
    """A host to be: its task is launched by `accept(call, targets)`."""

    decision: Accept
    task_id: str
    token: bytes
    accept: Callable[[Call, list[str]], None]


class Allocation:
    """The session's share of the cluster. `allocator` decides; `carry_out` does what it has decided."""

    def __init__(self, request: SessionRequest, session: str, random: Random, now: float) -> None:
        """Raises UsageError where the request contradicts itself."""
        self._request = request
        self._session = session
        self._launched = 0
        self._container = container_of(request)
        self._demand = demand_of(request)
        self._roles = parse_roles(request.role)
        self.allocator = GangAllocator(
            self._demand, self._roles, hold_seconds=HOLD_SECONDS, now=now, random=random.random
        )

    @property
    def unlocks_memory(self) -> bool:
        """True where the proxies are to lift the limit of locked memory: nobody has asked for one."""
        limits = self._container.rlimits if self._container is not None else ()
        return all(limit.name != MEMLOCK for limit in limits)

    def framework(self) -> dict[str, Any]:
        """Return the FrameworkInfo to subscribe with. Raises UsageError."""
        return framework_info(
            f"roujiamo {self._request.name}",
            self._request.user,
            roles=self._roles,
            principal=self._request.principal,
            # Where an operator finds who waits for the tasks.
            hostname=socket.gethostname(),
            labels={"roujiamo.session": self._session},
            failover_timeout_seconds=self._request.failover_timeout_seconds,
            wants_gpus=self._demand.wants_gpus,
        )

    def carry_out(self, decisions: Iterable[Decision], call: Call) -> list[Launch]:
        """Make the calls that decline, suppress and revive; return what is to be launched."""
        launches = []
        for decision in decisions:
            if isinstance(decision, Accept):
                launches.append(self._launch(decision))
            elif isinstance(decision, Decline):
                call("decline", offer_ids=list(decision.offer_ids), refuse_seconds=decision.refuse_seconds)
            elif isinstance(decision, Suppress):
                call("suppress")
            elif isinstance(decision, Revive):
                call("revive")
        return launches

    def _launch(self, decision: Accept) -> Launch:
        self._launched += 1
        number = self._launched
        # Never used again: MESOS-9657, an id that comes back within a second crashes the agent.
        task_id = f"{self._session}.{number}"
        token = os.urandom(SECRET_SIZE)

        def accept(call: Call, targets: list[str]) -> None:
            task = self._task(decision, number, task_id, token, targets)
            call(
                "accept",
                offer_ids=list(decision.offer_ids),
                operations=[launch_operation([task])],
                refuse_seconds=REFUSE_SECONDS,
            )

        return Launch(decision, task_id, token, accept)

    def _task(
        self, decision: Accept, number: int, task_id: str, token: bytes, targets: list[str]
    ) -> dict[str, Any]:
        request = self._request
        return task_info(
            task_id=task_id,
            name=f"roujiamo {request.name}, host {number}",
            agent_id=decision.agent_id,
            resources=decision.resources,
            command=bootstrap_command(),
            environment={
                "ROUJIAMO_TOKEN": token.hex(),
                "ROUJIAMO_CALLBACK": ",".join(targets),
                "ROUJIAMO_HOST": decision.hostname,
            },
            user=request.user,
            uris=request.uris,
            labels={"roujiamo.session": self._session},
            kill_grace_seconds=KILL_GRACE_SECONDS,
            container=self._container,
        )


def demand_of(request: SessionRequest) -> Demand:
    """Return what the allocator is asked for. Raises UsageError."""
    if request.is_on_demand:
        plan = SlotPlan(0, 0)
    else:
        plan = plan_slots(request.nodes, request.processes, request.max_slots_per_host)
    return Demand(
        hosts=plan.hosts,
        slots=plan.slots,
        per_slot=Resources(
            cpus=request.cpus_per_process if request.cpus_per_host is None else 0,
            mem=request.mem_per_process if request.mem_per_host is None else 0,
            disk=request.disk_per_process,
            gpus=request.gpus_per_process,
        ),
        per_host=Resources(
            cpus=request.overhead_cpus + (request.cpus_per_host or 0),
            mem=request.overhead_mem + (request.mem_per_host or 0),
            disk=request.disk_per_host,
            gpus=request.gpus_per_host,
        ),
        max_slots_per_host=request.max_slots_per_host,
        exclusive=request.exclusive,
        placement=SPREAD if request.spread else PACK,
        constraints=tuple(parse_constraint(each) for each in request.constraints),
        only_hosts=_names(request.only_hosts),
        exclude_hosts=_names(request.exclude_hosts),
    )


def container_of(request: SessionRequest) -> Container | None:
    """Return how the tasks are contained, None where the agent's own way will do. Raises UsageError."""
    container = Container(
        containerizer=request.containerizer,
        image=request.image,
        volumes=tuple(parse_volume(each) for each in request.volumes),
        devices=request.devices,
        shm_size_mb=None if request.shm_size_mb is None else round(request.shm_size_mb),
        rlimits=tuple(parse_rlimit(each) for each in request.rlimits),
        force_pull=request.force_pull,
    )
    if container in (Container(), Container(force_pull=True)):
        return None
    if container.containerizer == DOCKER and all(limit.name != MEMLOCK for limit in container.rlimits):
        # Docker's engine sets it for any user, and there is nothing that an agent would have to be prepared for. With
        # the Mesos containerizer only the posix/rlimits isolator reads a limit, and an agent that does not run as root
        # fails the task: there the proxies go as far as their hosts allow.
        container = container._replace(rlimits=(*container.rlimits, RLimit(MEMLOCK)))
    # What the containerizer does not have is found before anything is asked of Mesos.
    container_info(container)
    return container


def _names(lists: Iterable[str]) -> tuple[str, ...]:
    """Return the names of several comma-separated lists."""
    return tuple(name for each in lists for name in each.split(",") if name)
