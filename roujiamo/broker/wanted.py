"""What a session wants of Mesos: the demand, the tasks' container, and who asks.

Runs in the broker, before it has loaded most of itself: all that may be wrong with these is found here, and then the
driver is told, so that it subscribes while the rest loads.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from roujiamo.mesos.constraints import parse_constraint
from roujiamo.mesos.demand import PACK, SPREAD, Demand
from roujiamo.mesos.framework_info import framework_info, parse_roles
from roujiamo.mesos.resources import Resources
from roujiamo.mesos.split import SlotPlan, plan_slots
from roujiamo.mesos.taskinfo import DOCKER, Container, RLimit, container_info, parse_rlimit, parse_volume
from roujiamo.session.request import SessionRequest

MEMLOCK = "MEMLOCK"


class Wanted:
    """What the request wants: `demand`, `roles`, and `container`, None where the agent's own way will do."""

    def __init__(self, request: SessionRequest, session: str) -> None:
        """`session` is its id. Raises UsageError where the request contradicts itself."""
        self.request = request
        self.session = session
        self.container = container_of(request)
        self.demand = demand_of(request)
        self.roles = parse_roles(request.role)

    @property
    def unlocks_memory(self) -> bool:
        """True where the proxies are to lift the limit of locked memory: nobody has asked for one."""
        limits = self.container.rlimits if self.container is not None else ()
        return all(limit.name != MEMLOCK for limit in limits)

    def framework(self) -> dict[str, Any]:
        """Return the FrameworkInfo to subscribe with."""
        return framework_info(
            f"roujiamo {self.request.name}",
            self.request.user,
            roles=self.roles,
            principal=self.request.principal,
            # Where an operator finds who waits for the tasks.
            hostname=socket.gethostname(),
            labels={"roujiamo.session": self.session},
            failover_timeout_seconds=self.request.failover_timeout_seconds,
            wants_gpus=self.demand.wants_gpus,
        )

    def subscription(self) -> dict[str, Any]:
        """Return what the driver is told first: see `roujiamo.driver.lines`."""
        return {
            "master": self.request.master,
            "framework": self.framework(),
            "principal": self.request.principal,
            "secret": self.request.secret,
            "verbose": self.request.verbosity > 1,
        }


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
