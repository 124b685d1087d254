"""From offers to tasks: what the gang allocator decides, as calls of the driver.

Runs in the broker. The decisions are the allocator's (pure, `roujiamo.mesos.gang`); here they get task ids,
first-contact tokens, and the command that each task runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, NamedTuple

from roujiamo.broker.wanted import Wanted
from roujiamo.mesos.gang import (
    HOLD_SECONDS,
    Accept,
    Decision,
    Decline,
    GangAllocator,
    Revive,
    Suppress,
)
from roujiamo.mesos.taskinfo import launch_operation, task_info
from roujiamo.protocol.handshake import SECRET_SIZE
from roujiamo.proxy.bootstrap import bootstrap_command

Call = Callable[..., None]

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

    def __init__(self, wanted: Wanted, random: Random, now: float) -> None:
        self.wanted = wanted
        self._launched = 0
        self.allocator = GangAllocator(
            wanted.demand, wanted.roles, hold_seconds=HOLD_SECONDS, now=now, random=random.random
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
        task_id = f"{self.wanted.session}.{number}"
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
        request = self.wanted.request
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
            labels={"roujiamo.session": self.wanted.session},
            kill_grace_seconds=KILL_GRACE_SECONDS,
            container=self.wanted.container,
        )
