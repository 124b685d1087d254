"""`--dry-run`: what a run or an allocation would ask for and start, on stdout, and nothing of it is done.

Runs in the user's shell. It asks the master for its agents alone, and lets the session's own allocator choose among
what they have free now. What it prints is a shell script in form, so that each part can be copied; what only exists
while a session runs (its socket, its tokens) is named in capitals. No secret is in it.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from roujiamo import dialects
from roujiamo.broker.allocation import Allocation, Launch
from roujiamo.broker.wanted import Wanted
from roujiamo.errors import AllocationError
from roujiamo.mesos.foreseen import foreseen_offers
from roujiamo.mesos.framework_info import parse_roles
from roujiamo.mesos.offers import parse_agent
from roujiamo.run import launcher as launchers
from roujiamo.run.master_check import MasterCheck
from roujiamo.run.options import RunOptions
from roujiamo.session.local_master import agents_to_be, is_local
from roujiamo.session.names import aliases
from roujiamo.session.network import parse_callback
from roujiamo.session.request import SessionRequest
from roujiamo.session.secret_words import without_secrets
from roujiamo.system.addresses import address_towards, callback_target
from roujiamo.system.private_folder import choose_folder
from roujiamo.system.session_client import current_user

SESSION = "SESSION"
TOKEN = "TOKEN"
LOOPBACK = "127.0.0.1"


def dry_run(options: RunOptions, *, of_run: bool) -> int:
    """Print what `roujiamo run` (or `alloc`) would do; return the exit status. Raises RoujiamoError."""
    launcher = launchers.find_launcher(options.launch.mpiexec) if of_run else None
    folder = Path(os.fsdecode(choose_folder(os.environb))) / SESSION
    request = options.request._replace(
        user=options.request.user or current_user(),
        folder=str(folder),
        uris=tuple(without_secrets(options.request.uris)),
    )
    master, agents = _agents(request)
    launches = _launches(request, agents)
    own = LOOPBACK if is_local(master) else address_towards(master.rpartition(":")[0].strip("[]"))
    advertised, port = parse_callback(request.callback_address or "")
    low = request.callback_ports[0] if request.callback_ports else None
    target = callback_target(advertised or own, port or low or 0).removesuffix(":0")
    if not (port or low):
        target += ":PORT"
    # What the hosts would tell when they call back.
    addresses = {each["id"]: parse_agent(each, parse_roles(request.role)).address for each in agents}
    told = [
        {
            "name": launch.decision.hostname,
            "alias": alias,
            "slots": launch.decision.slots,
            "facts": {"address": addresses[launch.decision.agent_id] or own},
            "callback_address": advertised or own,
        }
        for launch, alias in zip(launches, aliases(), strict=False)
    ]
    ready = {"socket": str(folder / "socket"), "hosts": told}
    plan = launchers.launch_plan(request, options.launch, ready)
    said = launchers.said_parameters(launcher.path if launcher else None, options.launch.mpi_arguments)
    environment = launchers.launch_environment(launcher.dialect if launcher else None, plan, ready, said)
    command = list(options.command)
    if launcher is not None:
        launchers.refuse(launcher, plan, options.launch.mpi_arguments)
        processes = request.processes or sum(host.slots for host in plan.hosts)
        command = launchers.launch_line(launcher, plan, processes, options.launch.mpi_arguments, command)
    for part in (
        _hosts(launches, master, len(agents)),
        _tasks(launches, target, request),
        _hostfiles(plan.folder, dialects.hostfiles(plan.hosts)),
        _environment(environment),
        _command(command, launcher.name if launcher else "The command"),
    ):
        print("\n".join(part))
    return 0


def _agents(request: SessionRequest) -> tuple[str, list[Any]]:
    """Return the master and its agents. Raises RoujiamoError."""
    if is_local(request.master):
        return request.master, agents_to_be(request.master, request.nodes or 0)
    return MasterCheck(request).agents()


def _launches(request: SessionRequest, agents: list[Any]) -> list[Launch]:
    """Return the tasks that the session would launch, had it the offers of now. Raises RoujiamoError."""
    allocation = Allocation(Wanted(request, SESSION), Random(), 0.0)
    allocator = allocation.allocator
    allocator.learn_agents(agents)
    decisions = [
        *allocator.on_subscribed(0.0),
        *allocator.on_offers(foreseen_offers(agents, parse_roles(request.role)), 0.0),
    ]
    if not allocator.is_satisfied:
        missing = allocator.is_impossible(agents) or allocator.explain(agents)
        raise AllocationError(f"as the agents are now, a run would wait: {missing}")
    return allocation.carry_out(decisions, lambda *_, **__: None)


def _hosts(launches: list[Launch], master: str, agents: int) -> Iterator[str]:
    whose = "of the run's own local cluster" if is_local(master) else f"of {agents} agents of {master}"
    yield f"# Hosts, {whose}, as these are now (others may have them by then):"
    for launch in launches:
        resources = "; ".join(
            f"{each['name']}:{each['scalar']['value']:g}"
            for each in launch.decision.resources
            if "scalar" in each
        )
        slots = launch.decision.slots
        yield f"#   {launch.decision.hostname}  {slots} slot{'s' if slots != 1 else ''}  {resources}"


def _tasks(launches: list[Launch], target: str, request: SessionRequest) -> Iterator[str]:
    yield ""
    yield "# One ACCEPT for each, with this TaskInfo. TOKEN is made anew, and is good for one first contact."
    if request.environment:
        yield f"# Sent when the task has called back, for the ranks: {' '.join(sorted(request.environment))}"
    for launch in launches:
        calls: list[dict[str, Any]] = []
        keep: Callable[..., None] = lambda call, calls=calls, **arguments: calls.append(arguments)  # noqa: E731
        launch.accept(keep, [target])
        tasks = [
            task
            for call in calls
            for operation in call["operations"]
            for task in operation["launch"]["task_infos"]
        ]
        text = json.dumps(tasks[0], indent=2).replace(launch.token.hex(), TOKEN)
        yield from (": <<'END_OF_TASK'", *text.splitlines(), "END_OF_TASK")


def _hostfiles(folder: str, files: dict[str, str]) -> Iterator[str]:
    yield ""
    yield "# The hostfiles (those of all MPIs), in the session's folder:"
    yield shlex.join(["mkdir", "-p", folder])
    for name, text in files.items():
        yield f"cat >{shlex.quote(f'{folder}/{name}')} <<'END_OF_FILE'"
        yield text + "END_OF_FILE"


def _environment(environment: dict[str, str]) -> Iterator[str]:
    yield ""
    yield "# What is set besides your own environment:"
    for name in sorted(environment):
        value = environment[name]
        if value == os.environ.get(name):
            continue
        rest = os.pathsep + os.environ.get(name, "")
        if name == "PATH" and value.endswith(rest):
            yield f'export PATH={shlex.quote(value.removesuffix(rest))}:"$PATH"'
        else:
            yield f"export {name}={shlex.quote(value)}"


def _command(line: list[str], what: str) -> Iterator[str]:
    yield ""
    yield f"# {what}:"
    yield shlex.join(without_secrets(line)) if line else '"${SHELL:-/bin/sh}"'
