"""An agent's tasks: launched, killed, listened to, told to the master, and taken over from an agent that was killed.

Part of an agent process. The master's word starts and ends them; executors (see `executor`), forked here, say what
becomes of them. A task of a framework that checkpoints outlives this process: its executor's socket is with the keeper
(see `fd_store`), all else in a file (see `runs`).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roujiamo.local import fd_store, sandbox
from roujiamo.local.children import fork
from roujiamo.local.executor import Order, execute
from roujiamo.local.links import Link
from roujiamo.local.memory import MemoryWatch
from roujiamo.local.runs import Checkpoints, Run
from roujiamo.mesos.master.state import as_authority

# The command executor's time between SIGTERM and SIGKILL (mesos.proto, KillPolicy).
DEFAULT_GRACE_SECONDS = 3.0
# Sandboxes of so many tasks that are over are kept.
MAX_COMPLETED = 150


@dataclass
class Identity:
    """Who and where an agent is, as far as it knows yet."""

    hostname: str
    work_dir: Path
    agent_id: str = ""
    ip: str = ""
    port: int = 0
    # Whether its tasks see its hostname as their own.
    shows_hostname: bool = True

    @property
    def address(self) -> str:
        return as_authority(self.ip, self.port)

    @property
    def pid(self) -> str:
        """The libprocess address by which Mesos names an agent."""
        return f"slave(1)@{self.address}"


class Workload:
    """All tasks of an agent. `send` takes messages for the master."""

    def __init__(
        self,
        identity: Identity,
        checkpoints: Checkpoints,
        store: socket.socket,
        send: Callable[[dict[str, Any]], None],
        enforces_memory: bool,
    ) -> None:
        self._identity = identity
        self._checkpoints = checkpoints
        self._store = store
        self._send = send
        # What has an executor; what the next master must hear of; what is over, for the endpoints.
        self.running: dict[tuple[str, str], Run] = {}
        self.unsettled: dict[tuple[str, str], Run] = {}
        self.completed: list[Run] = []
        self._all_over = asyncio.Event()
        self._memory = MemoryWatch(self.running) if enforces_memory else None

    async def recover(self, stored: dict[str, int]) -> None:
        """Take over what this agent ran before it was killed."""
        for run in self._checkpoints.load(self._identity.agent_id):
            self.unsettled[run.key] = run
            descriptor = stored.get(run.place.container_id)
            if descriptor is not None:
                self.running[run.key] = run
                await self._attach(run, socket.socket(fileno=descriptor))
            elif run.is_over:
                self.completed.append(run)
            else:
                text, reason = "Executor terminated", "REASON_EXECUTOR_TERMINATED"
                self._end_unstarted(run, "TASK_FAILED", text, reason)

    def on_master(self, message: dict[str, Any]) -> None:
        """Do what the master says about tasks."""
        kind = message["type"]
        if kind == "launch":
            self._launch(message)
        elif kind == "kill":
            run = self.running.get((message["framework_id"], message["task_id"]))
            if run is not None:
                self._kill(run, message.get("grace_seconds"))
        elif kind == "acknowledged":
            self._acknowledge(message)
        elif kind == "shutdown_framework":
            self._shut_down({message["framework_id"]})
        elif kind == "keep_frameworks":
            kept = set(message["framework_ids"])
            self._shut_down({framework_id for framework_id, _ in self.running} - kept)

    async def end(self, grace_seconds: float) -> None:
        """Kill every task and wait for its end, a little longer than the grace."""
        self._all_over.clear()
        for run in list(self.running.values()):
            self._kill(run, grace_seconds)
        if self.running:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._all_over.wait(), grace_seconds + 1.0)

    def _acknowledge(self, message: dict[str, Any]) -> None:
        run = self.unsettled.get((message["framework_id"], message["task_id"]))
        if run is not None:
            run.acknowledge(message["uuid"])
            if run.is_settled:
                self._settle(run)
            else:
                self._checkpoints.save(run)

    def _settle(self, run: Run) -> None:
        """No master needs to hear of a run any more."""
        if self.unsettled.get(run.key) is run:
            del self.unsettled[run.key]
        self._checkpoints.forget(run)

    def _launch(self, message: dict[str, Any]) -> None:
        info, framework = message["task"], message["framework"]
        task_id = info["task_id"]["value"]
        place = sandbox.Place(
            self._identity.work_dir,
            self._identity.agent_id,
            framework["id"],
            task_id,
            message["container_id"],
        )
        run = Run(place, framework, info)
        self.running[run.key] = self.unsettled[run.key] = run
        problem = _container_problem(info)
        if problem is not None:
            self._end_unstarted(run, *problem)
            return
        command = info["command"]
        try:
            user = sandbox.create(place, command.get("user", framework["user"]))
        except sandbox.SandboxError as error:
            self._end_unstarted(run, "TASK_LOST", str(error), "REASON_EXECUTOR_TERMINATED")
            return
        environment = sandbox.environment(
            place,
            command,
            task_id=task_id,
            agent_address=self._identity.address,
            agent_pid=self._identity.pid,
            is_checkpointing=framework["checkpoint"],
            hostname=None if self._identity.shows_hostname else self._identity.hostname,
        )
        order = Order(
            command=command,
            directory=place.directory,
            environment=environment,
            user=user,
            container_id=place.container_id,
            max_seconds=info.get("max_completion_time", {}).get("nanoseconds", 0) / 1e9,
            knows_killing=framework["knows_killing"],
        )
        try:
            self._fork(run, order)
        except OSError as error:
            text = f"Failed to launch container: {error.strerror}"
            self._end_unstarted(run, "TASK_FAILED", text, "REASON_CONTAINER_LAUNCH_FAILED")

    def _fork(self, run: Run, order: Order) -> None:
        ours, theirs = socket.socketpair()
        try:
            run.executor_pid = fork(lambda: execute(order, theirs))
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        if run.is_checkpointed:
            self._checkpoints.save(run)
            fd_store.put(self._store, run.place.container_id, run.executor_pid, ours.fileno())
        self._attaching = asyncio.ensure_future(self._attach(run, ours))

    async def _attach(self, run: Run, executor: socket.socket) -> None:
        """Listen to a run's executor."""

        def on_message(message: dict[str, Any]) -> None:
            self._report(run, message)

        def on_end() -> None:
            run.link = None
            if not run.is_over:
                # The executor was killed, or had nothing to run; a sleeping master learns it when it wakes.
                ended = {
                    "state": "TASK_FAILED",
                    "message": "Executor terminated",
                    "source": "SOURCE_AGENT",
                    "reason": "REASON_EXECUTOR_TERMINATED",
                    "timestamp": time.time(),
                }
                self._report(run, ended)
            self._complete(run)

        run.link = await Link.over(executor, on_message, on_end)
        if run.early_kill is not None:
            run.link.send({"grace_seconds": run.early_kill})
        if self._memory is not None:
            self._memory.begin()

    def _kill(self, run: Run, grace_seconds: float | None = None) -> None:
        if grace_seconds is None:
            policy = run.info.get("kill_policy", {}).get("grace_period")
            grace_seconds = policy["nanoseconds"] / 1e9 if policy is not None else DEFAULT_GRACE_SECONDS
        if run.link is not None:
            run.link.send({"grace_seconds": grace_seconds})
        else:
            # Its executor has just been forked, and is told as soon as it can be.
            run.early_kill = grace_seconds

    def _shut_down(self, framework_ids: set[str]) -> None:
        for run in list(self.running.values()):
            if run.framework["id"] in framework_ids:
                self._kill(run, DEFAULT_GRACE_SECONDS)
        for run in [one for one in self.unsettled.values() if one.place.framework_id in framework_ids]:
            self._settle(run)

    def _end_unstarted(self, run: Run, state: str, message: str, reason: str) -> None:
        ended = {"state": state, "message": message, "source": "SOURCE_AGENT", "reason": reason}
        self._report(run, {**ended, "timestamp": time.time()})
        self._complete(run)

    def _report(self, run: Run, report: dict[str, Any]) -> None:
        """Make a TaskStatus of an executor's report (or of our own) and send it to the master."""
        source = report.get("source", "SOURCE_EXECUTOR")
        status: dict[str, Any] = {"task_id": run.info["task_id"], "state": report["state"]}
        if "message" in report:
            status["message"] = report["message"]
        status["source"] = source
        if "reason" in report:
            status["reason"] = report["reason"]
        if "limitation" in report:
            status["limitation"] = report["limitation"]
        status.update(
            agent_id={"value": self._identity.agent_id},
            executor_id={"value": run.task_id},
            timestamp=report["timestamp"],
            uuid=base64.b64encode(uuid.uuid4().bytes).decode(),
        )
        if source == "SOURCE_EXECUTOR":
            status["container_status"] = {
                "container_id": {"value": run.place.container_id},
                "network_infos": [{"ip_addresses": [{"protocol": "IPv4", "ip_address": self._identity.ip}]}],
                "executor_pid": run.executor_pid,
            }
        run.statuses.append(status)
        if self.unsettled.get(run.key) is run:
            # Before anybody hears of it, as in Mesos.
            self._checkpoints.save(run)
        self._send({"type": "update", "framework_id": run.framework["id"], "status": status})

    def _complete(self, run: Run) -> None:
        if run.is_checkpointed:
            fd_store.drop(self._store, run.place.container_id)
        if self.running.get(run.key) is run:
            del self.running[run.key]
        if not self.running:
            self._all_over.set()
        self.completed.append(run)
        if len(self.completed) > MAX_COMPLETED:
            shutil.rmtree(self.completed.pop(0).place.runs.parent, ignore_errors=True)


def _container_problem(info: dict[str, Any]) -> tuple[str, str, str] | None:
    """What a Mesos agent without images says to a task that wants one: state, message, reason."""
    container = info.get("container", {})
    if container.get("type") == "DOCKER":
        text = "Abnormal executor termination: unknown container"
        return "TASK_FAILED", text, "REASON_EXECUTOR_TERMINATED"
    image = container.get("mesos", {}).get("image")
    if image is not None:
        text = f"Failed to launch container: Unsupported container image type: {image.get('type')}"
        return "TASK_FAILED", text, "REASON_CONTAINER_LAUNCH_FAILED"
    return None
