"""An agent of the local cluster: one process for each host, which runs tasks and serves their sandboxes.

Forked by the master's process before that has an event loop; asyncio in here. It takes its hostname (see
`namespaces`), registers over the socket pair that it was given, forks an executor for each task, and passes on what
executors report. When the master is gone it ends its tasks and itself. As a subreaper it inherits what a killed
executor left, and kills it. It trusts the master; its HTTP port is open to whoever can reach it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shutil
import signal
import socket
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from roujiamo.local import agent_http, sandbox, work_folder
from roujiamo.local.children import end_adopted, end_descendants
from roujiamo.local.executor import Order, execute
from roujiamo.local.http_server import HttpServer, own_address
from roujiamo.local.links import Link
from roujiamo.local.namespaces import take_hostname
from roujiamo.mesos.master.quantities import Quantities
from roujiamo.mesos.master.state import as_authority
from roujiamo.mesos.task_states import TERMINAL_STATES
from roujiamo.system.processes import become_subreaper, reap_children

# The command executor's time between SIGTERM and SIGKILL (mesos.proto, KillPolicy).
DEFAULT_GRACE_SECONDS = 3.0
# How long an agent that is told to stop lets its tasks end by themselves.
STOP_GRACE_SECONDS = 2.0
# Sandboxes of so many tasks that are over are kept.
MAX_COMPLETED = 150


@dataclass(frozen=True)
class AgentOptions:
    """What the master's process tells an agent at its birth."""

    hostname: str
    host: str
    work_dir: Path
    is_temporary: bool
    total: Quantities
    attributes: list[dict[str, Any]]
    # Why there is no hostname of its own, where there cannot be one.
    namespace_problem: str | None


@dataclass
class Run:
    """One task on this agent, running or over."""

    place: sandbox.Place
    framework: dict[str, Any]
    info: dict[str, Any]
    statuses: list[dict[str, Any]] = field(default_factory=list)
    executor_pid: int = 0
    link: Link | None = None

    @property
    def task_id(self) -> str:
        return self.place.executor_id

    @property
    def state(self) -> str:
        return str(self.statuses[-1]["state"]) if self.statuses else "TASK_STAGING"

    @property
    def is_over(self) -> bool:
        return self.state in TERMINAL_STATES


def run_agent(options: AgentOptions, master: socket.socket) -> NoReturn:
    """Be an agent in a freshly forked process, and exit."""
    status = 1
    held = None
    try:
        os.setsid()
        os.closerange(3, master.fileno())
        os.closerange(master.fileno() + 1, 1 << 20)
        if options.is_temporary:
            held = work_folder.hold(options.work_dir.parent)
        become_subreaper()
        asyncio.run(_Agent(options).run(master))
        status = 0
    except BaseException as problem:  # noqa: BLE001  nothing may return into the master's code from here
        sys.stderr.write(f"roujiamo local: {options.hostname}: {type(problem).__name__}: {problem}\n")
        sys.stderr.flush()
    finally:
        end_descendants(0.0)
        if held is not None:
            shutil.rmtree(options.work_dir, ignore_errors=True)
            # The last agent of a killed master removes the folder of all.
            work_folder.remove_if_last(options.work_dir.parent, held)
        os._exit(status)


class _Agent:
    def __init__(self, options: AgentOptions) -> None:
        self._options = options
        self._runs: dict[tuple[str, str], Run] = {}
        self._completed: list[Run] = []
        self._master: Link | None = None
        self._agent_id = ""
        self._address = ""
        self._started_at = time.time()
        self._namespace_problem = options.namespace_problem
        self._stop = asyncio.Event()
        self._all_over = asyncio.Event()
        self._stop_grace_seconds = 0.0

    async def run(self, master: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        loop.add_signal_handler(signal.SIGCHLD, self._on_child_ended)
        for number in (signal.SIGTERM, signal.SIGUSR1):
            loop.add_signal_handler(number, self._unregister)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if self._namespace_problem is None:
            self._namespace_problem = take_hostname(self._options.hostname)
        family = socket.AF_INET6 if ":" in self._options.host else socket.AF_INET
        listener = socket.create_server((self._options.host, 0), family=family)
        host, port = own_address(listener)
        self._address = as_authority(host, port)
        server = HttpServer(agent_http.AgentService(self._describe))
        await server.start(listener)
        self._master = await Link.over(master, self._on_master, self._on_master_gone)
        hello = {"type": "hello", "ip": host, "port": port, "problem": self._namespace_problem}
        self._master.send(hello)
        await self._stop.wait()
        await self._end_tasks()
        server.close()
        self._master.close()
        # The loop closes what signals are written to before it lets go of them.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())

    # What the master says.

    def _on_master(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "registered":
            self._agent_id = message["agent_id"]
        elif kind == "launch":
            self._launch(message)
        elif kind == "kill":
            run = self._runs.get((message["framework_id"], message["task_id"]))
            if run is not None:
                self._kill(run, message.get("grace_seconds"))
        elif kind == "shutdown_framework":
            self._shut_down({message["framework_id"]})
        elif kind == "keep_frameworks":
            self._shut_down({framework_id for framework_id, _ in self._runs} - set(message["framework_ids"]))
        elif kind == "ping":
            self._send({"type": "pong"})
        elif kind == "stop":
            self._stop_grace_seconds = STOP_GRACE_SECONDS
            self._stop.set()

    def _on_master_gone(self) -> None:
        self._stop.set()

    def _unregister(self) -> None:
        """SIGUSR1 and SIGTERM: leave the cluster in good order, as a Mesos agent does."""
        self._send({"type": "unregister"})
        self._stop_grace_seconds = STOP_GRACE_SECONDS
        self._stop.set()

    def _send(self, message: dict[str, Any]) -> None:
        if self._master is not None:
            self._master.send(message)

    # Tasks.

    def _launch(self, message: dict[str, Any]) -> None:
        info, framework = message["task"], message["framework"]
        task_id = info["task_id"]["value"]
        place = sandbox.Place(
            self._options.work_dir, self._agent_id, framework["id"], task_id, message["container_id"]
        )
        run = Run(place, framework, info)
        self._runs[(framework["id"], task_id)] = run
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
            agent_address=self._address,
            agent_pid=f"slave(1)@{self._address}",
            is_checkpointing=framework["checkpoint"],
            hostname=self._options.hostname if self._namespace_problem is not None else None,
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
        # A signal to the new process must not reach this one's event loop through what they still share.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:
                execute(order, theirs)
        except OSError:
            ours.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            theirs.close()
        run.executor_pid = pid

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

        async def connect() -> None:
            run.link = await Link.over(ours, on_message, on_end)

        self._connecting = asyncio.ensure_future(connect())

    def _kill(self, run: Run, grace_seconds: float | None = None) -> None:
        if grace_seconds is None:
            policy = run.info.get("kill_policy", {}).get("grace_period")
            grace_seconds = policy["nanoseconds"] / 1e9 if policy is not None else DEFAULT_GRACE_SECONDS
        if run.link is not None:
            run.link.send({"grace_seconds": grace_seconds})

    def _shut_down(self, framework_ids: set[str]) -> None:
        for run in list(self._runs.values()):
            if run.framework["id"] in framework_ids:
                self._kill(run, DEFAULT_GRACE_SECONDS)

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
        status.update(
            agent_id={"value": self._agent_id},
            executor_id={"value": run.task_id},
            timestamp=report["timestamp"],
            uuid=base64.b64encode(uuid.uuid4().bytes).decode(),
        )
        if source == "SOURCE_EXECUTOR":
            ip = self._address.rpartition(":")[0].strip("[]")
            status["container_status"] = {
                "container_id": {"value": run.place.container_id},
                "network_infos": [{"ip_addresses": [{"protocol": "IPv4", "ip_address": ip}]}],
                "executor_pid": run.executor_pid,
            }
        run.statuses.append(status)
        self._send({"type": "update", "framework_id": run.framework["id"], "status": status})

    def _complete(self, run: Run) -> None:
        if self._runs.get((run.framework["id"], run.task_id)) is run:
            del self._runs[(run.framework["id"], run.task_id)]
        if not self._runs and self._stop.is_set():
            self._all_over.set()
        self._completed.append(run)
        if len(self._completed) > MAX_COMPLETED:
            shutil.rmtree(self._completed.pop(0).place.runs.parent, ignore_errors=True)

    def _on_child_ended(self) -> None:
        """Reap; and kill what a killed executor left, which is ours since."""
        if any(status != 0 for _, status in reap_children()):
            end_adopted({run.executor_pid for run in self._runs.values()})

    async def _end_tasks(self) -> None:
        """Kill every task and wait for its end, a little longer than the grace."""
        for run in list(self._runs.values()):
            self._kill(run, self._stop_grace_seconds)
        if self._runs:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._all_over.wait(), self._stop_grace_seconds + 1.0)

    def _describe(self) -> agent_http.Description:
        return agent_http.Description(
            agent_id=self._agent_id,
            hostname=self._options.hostname,
            pid=f"slave(1)@{self._address}",
            started_at=self._started_at,
            total=self._options.total,
            attributes=self._options.attributes,
            work_dir=self._options.work_dir,
            running=list(self._runs.values()),
            completed=self._completed,
        )


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
