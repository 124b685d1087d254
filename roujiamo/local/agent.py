"""An agent of the local cluster: one process for each host, which runs tasks and serves their sandboxes.

Forked by the keeper; asyncio in here. It takes its hostname (see `namespaces`), registers with the master that leads
(the keeper carries what they say), forks an executor for each task, and passes on what executors report. To each new
master it says hello with all that the last one may have known (see `runs`). When the keeper is gone it ends its tasks
and itself; when it is killed, tasks of frameworks that checkpoint live on, and the agent that is started in its place
takes them over. As a subreaper it inherits what a killed executor left, and kills it. It trusts the keeper; its HTTP
port is open to whoever can reach it.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from roujiamo.local import agent_http, fd_store, sandbox, work_folder
from roujiamo.local.children import become, end_adopted, end_descendants, fork
from roujiamo.local.executor import Order, execute
from roujiamo.local.http_server import HttpServer, own_address
from roujiamo.local.links import Link
from roujiamo.local.namespaces import enter_network, take_hostname
from roujiamo.local.runs import Checkpoints, Run
from roujiamo.mesos.master.quantities import Quantities
from roujiamo.mesos.master.state import as_authority
from roujiamo.system.processes import become_subreaper, reap_children

# The command executor's time between SIGTERM and SIGKILL (mesos.proto, KillPolicy).
DEFAULT_GRACE_SECONDS = 3.0
# How long an agent that is told to stop lets its tasks end by themselves.
STOP_GRACE_SECONDS = 2.0
# Sandboxes of so many tasks that are over are kept.
MAX_COMPLETED = 150


@dataclass(frozen=True)
class AgentOptions:
    """What the keeper tells an agent at its birth."""

    hostname: str
    host: str
    work_dir: Path
    is_temporary: bool
    total: Quantities
    attributes: list[dict[str, Any]]
    # The network namespace to live in, if not the keeper's.
    network: str | None
    # Why there is no hostname of its own, where there cannot be one.
    namespace_problem: str | None
    # Started again after its process was killed; by container id, the sockets of the executors that live on.
    is_restarted: bool
    stored: dict[str, int]


def run_agent(options: AgentOptions, keeper: socket.socket, store: socket.socket) -> NoReturn:
    """Be an agent in a freshly forked process, and exit."""
    status = 1
    held = None
    try:
        become(options.hostname, (keeper.fileno(), store.fileno(), *options.stored.values()))
        if options.is_temporary:
            held = work_folder.hold(options.work_dir.parent)
        become_subreaper()
        asyncio.run(_Agent(options, store).run(keeper))
        status = 0
    except BaseException as problem:  # noqa: BLE001  nothing may return into the keeper's code from here
        sys.stderr.write(f"roujiamo local: {options.hostname}: {type(problem).__name__}: {problem}\n")
        sys.stderr.flush()
    finally:
        end_descendants(0.0)
        if held is not None:
            shutil.rmtree(options.work_dir, ignore_errors=True)
            # The last agent of a killed keeper removes the folder of all.
            work_folder.remove_if_last(options.work_dir.parent, held)
        os._exit(status)


class _Agent:
    def __init__(self, options: AgentOptions, store: socket.socket) -> None:
        self._options = options
        self._store = store
        self._checkpoints = Checkpoints(options.work_dir)
        # What has an executor; what the next master must hear of; what is over, for the endpoints.
        self._runs: dict[tuple[str, str], Run] = {}
        self._unsettled: dict[tuple[str, str], Run] = {}
        self._completed: list[Run] = []
        self._keeper: Link | None = None
        self._agent_id = ""
        self._host = options.host
        self._ip = ""
        self._port = 0
        self._started_at = time.time()
        self._namespace_problem = options.namespace_problem
        self._stop = asyncio.Event()
        self._all_over = asyncio.Event()
        self._stop_grace_seconds = 0.0

    async def run(self, keeper: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        loop.add_signal_handler(signal.SIGCHLD, self._on_child_ended)
        for number in (signal.SIGTERM, signal.SIGUSR1):
            loop.add_signal_handler(number, self._unregister)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if self._namespace_problem is None:
            self._namespace_problem = take_hostname(self._options.hostname)
        if self._options.network is not None:
            self._host = enter_network(self._options.network)
        if self._options.is_restarted:
            self._agent_id, self._port = self._checkpoints.load_agent()
        else:
            self._checkpoints.clear()
        listener = self._listen()
        self._ip, self._port = own_address(listener)
        server = HttpServer(agent_http.AgentService(self._describe))
        await server.start(listener)
        self._keeper = await Link.over(keeper, self._on_master, self._stop.set)
        await self._recover()
        self._say_hello()
        await self._stop.wait()
        await self._end_tasks()
        server.close()
        self._keeper.close()
        # The loop closes what signals are written to before it lets go of them.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())

    def _listen(self) -> socket.socket:
        """On the port that it had before, or on a free one."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            return socket.create_server((self._host, self._port), family=family)
        except OSError:
            return socket.create_server((self._host, 0), family=family)

    async def _recover(self) -> None:
        """Take over what this agent ran before it was killed."""
        for run in self._checkpoints.load(self._agent_id):
            self._unsettled[run.key] = run
            descriptor = self._options.stored.get(run.place.container_id)
            if descriptor is not None:
                self._runs[run.key] = run
                await self._attach(run, socket.socket(fileno=descriptor))
            elif run.is_over:
                self._completed.append(run)
            else:
                text, reason = "Executor terminated", "REASON_EXECUTOR_TERMINATED"
                self._end_unstarted(run, "TASK_FAILED", text, reason)

    # What the master says.

    def _say_hello(self) -> None:
        hello = {
            "type": "hello",
            "agent_id": self._agent_id,
            "hostname": self._options.hostname,
            "ip": self._ip,
            "port": self._port,
            "problem": self._namespace_problem,
            "runs": [run.as_json() for run in self._unsettled.values()],
        }
        self._send(hello)

    def _on_master(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "registered":
            self._agent_id = message["agent_id"]
            self._checkpoints.save_agent(self._agent_id, self._port)
        elif kind == "new_master":
            self._say_hello()
        elif kind == "launch":
            self._launch(message)
        elif kind == "kill":
            run = self._runs.get((message["framework_id"], message["task_id"]))
            if run is not None:
                self._kill(run, message.get("grace_seconds"))
        elif kind == "acknowledged":
            self._acknowledge(message)
        elif kind == "shutdown_framework":
            self._shut_down({message["framework_id"]})
        elif kind == "keep_frameworks":
            self._shut_down({framework_id for framework_id, _ in self._runs} - set(message["framework_ids"]))
        elif kind == "ping":
            self._send({"type": "pong"})
        elif kind == "stop":
            self._stop_grace_seconds = STOP_GRACE_SECONDS
            self._stop.set()

    def _acknowledge(self, message: dict[str, Any]) -> None:
        run = self._unsettled.get((message["framework_id"], message["task_id"]))
        if run is not None:
            run.acknowledge(message["uuid"])
            if run.is_settled:
                self._settle(run)
            else:
                self._checkpoints.save(run)

    def _settle(self, run: Run) -> None:
        """No master needs to hear of a run any more."""
        if self._unsettled.get(run.key) is run:
            del self._unsettled[run.key]
        self._checkpoints.forget(run)

    def _unregister(self) -> None:
        """SIGUSR1 and SIGTERM: leave the cluster in good order, as a Mesos agent does."""
        self._send({"type": "unregister"})
        self._stop_grace_seconds = STOP_GRACE_SECONDS
        self._stop.set()

    def _send(self, message: dict[str, Any]) -> None:
        if self._keeper is not None:
            self._keeper.send(message)

    # Tasks.

    def _launch(self, message: dict[str, Any]) -> None:
        info, framework = message["task"], message["framework"]
        task_id = info["task_id"]["value"]
        place = sandbox.Place(
            self._options.work_dir, self._agent_id, framework["id"], task_id, message["container_id"]
        )
        run = Run(place, framework, info)
        self._runs[run.key] = self._unsettled[run.key] = run
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
        for run in [one for one in self._unsettled.values() if one.place.framework_id in framework_ids]:
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
        status.update(
            agent_id={"value": self._agent_id},
            executor_id={"value": run.task_id},
            timestamp=report["timestamp"],
            uuid=base64.b64encode(uuid.uuid4().bytes).decode(),
        )
        if source == "SOURCE_EXECUTOR":
            status["container_status"] = {
                "container_id": {"value": run.place.container_id},
                "network_infos": [{"ip_addresses": [{"protocol": "IPv4", "ip_address": self._ip}]}],
                "executor_pid": run.executor_pid,
            }
        run.statuses.append(status)
        if self._unsettled.get(run.key) is run:
            # Before anybody hears of it, as in Mesos.
            self._checkpoints.save(run)
        self._send({"type": "update", "framework_id": run.framework["id"], "status": status})

    def _complete(self, run: Run) -> None:
        if run.is_checkpointed:
            fd_store.drop(self._store, run.place.container_id)
        if self._runs.get(run.key) is run:
            del self._runs[run.key]
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

    @property
    def _address(self) -> str:
        return as_authority(self._ip, self._port)

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
