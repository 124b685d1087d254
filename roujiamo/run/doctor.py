"""`roujiamo doctor`: would a run work from here? Each check gives a verdict, and a remedy where it is not good.

Runs in the user's shell. It starts nothing on the cluster: it looks at this machine, at the mpiexec, and at what the
master says of its agents. Every question is bounded in time.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from roujiamo.errors import RoujiamoError
from roujiamo.pymesos_driver.exchange import Exchange
from roujiamo.pymesos_driver.loading import load_pymesos
from roujiamo.pymesos_driver.master import ZooKeeper, parse_master, reach
from roujiamo.pymesos_driver.zookeeper import find_leader
from roujiamo.run import launcher as launchers
from roujiamo.run.launch_hosts import OWN, look_up
from roujiamo.run.options import RunOptions
from roujiamo.session.names import listing
from roujiamo.session.settings import Settings
from roujiamo.system.runtime_folder import runtime_folder

MASTER_SECONDS = 5.0
ZOOKEEPER_SECONDS = 10.0
# Each host is a connection, each remote command a shim's and a channel.
ENOUGH_DESCRIPTORS = 1024

GOOD, NOTE, BAD = "good", "note", "bad"

WITHOUT_A_WRAPPER = (
    "with mpiexec alone (ROUJIAMO_MASTER) hosts come one by one and not all or none, nobody checks that every rank "
    "ran in a task, and under tree spawn the agent has to be named without a path; `roujiamo run` has no such limits"
)


@dataclass(frozen=True)
class Finding:
    """What one check found: GOOD, a NOTE that prevents nothing, or BAD."""

    check: str
    verdict: str
    text: str


def doctor(options: RunOptions, *, as_json: bool) -> int:
    """Print the findings; return 0 where a run would work, else 1."""
    findings = list(_examine(options))
    if as_json:
        print(json.dumps([asdict(each) for each in findings], indent=2))
    else:
        width = max(len(each.check) for each in findings)
        for each in findings:
            print(f"{each.verdict:<4}  {each.check:<{width}}  {each.text}")
    return int(any(each.verdict == BAD for each in findings))


def _examine(options: RunOptions) -> Iterator[Finding]:
    yield Finding("python", GOOD, f"{sys.version.split()[0]} at {sys.executable}")
    for check, look in (("pymesos", _pymesos), ("psutil", _psutil), ("folder", _folder), ("agent", _agent)):
        yield _found(check, look)
    yield from _settings(options.settings)
    yield _limits()
    yield _mpiexec(options)
    yield from _master(options.request.master)
    yield Finding("no wrapper", NOTE, WITHOUT_A_WRAPPER)


def _settings(settings: Settings) -> Iterator[Finding]:
    """What is set, and by whom: the nearest goes before."""
    files = listing(list(settings.files)) if settings.files else "no roujiamo.toml"
    yield Finding("configuration", GOOD, files)
    for flag, value, source in settings.shown():
        yield Finding(flag, GOOD, f"{value}  (from {source})")


def _found(check: str, look: Any) -> Finding:
    try:
        return Finding(check, GOOD, str(look()))
    except RoujiamoError as error:
        return Finding(check, BAD, str(error))


def _pymesos() -> str:
    load_pymesos()
    return "can be imported"


def _psutil() -> str:
    launchers.own_interfaces()
    return "can be imported"


def _folder() -> str:
    folder = runtime_folder()
    # It is only a session's to leave there.
    if folder.name.startswith("roujiamo") and not any(folder.iterdir()):
        folder.rmdir()
    return f"sessions' folders lie in {folder}"


def _agent() -> str:
    return f"roujiamo-rsh is in {launchers.shim_folder()}"


def _limits() -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= ENOUGH_DESCRIPTORS:
        shown = "without limit" if hard == resource.RLIM_INFINITY else f"up to {hard}"
        return Finding("limits", GOOD, f"open files {shown}")
    text = f"only {hard} open files (`ulimit -Hn`): enough for some {max(hard // 4, 1)} hosts; have the limit raised"
    return Finding("limits", NOTE, text)


def _mpiexec(options: RunOptions) -> Finding:
    try:
        launcher = launchers.find_launcher(options.launch.mpiexec)
    except RoujiamoError as error:
        return Finding("mpiexec", BAD, str(error))
    if launcher.dialect is None:
        text = f"{launcher.path} is of no known MPI ({launchers.known_names()}); it says {launcher.version!r}"
        return Finding("mpiexec", NOTE, text)
    is_refused = launcher.name.startswith("Open MPI") and os.geteuid() == 0
    if is_refused and not os.environ.get("OMPI_ALLOW_RUN_AS_ROOT"):
        text = f"{launcher.path} refuses root; set OMPI_ALLOW_RUN_AS_ROOT and OMPI_ALLOW_RUN_AS_ROOT_CONFIRM to 1"
        return Finding("mpiexec", BAD, text)
    return Finding("mpiexec", GOOD, f"{launcher.name}: {launcher.path} ({launcher.version})")


def _master(master: str) -> Iterator[Finding]:
    if master == "local" or master.startswith("local:"):
        yield Finding("master", GOOD, "a local cluster, started by each run")
        return
    try:
        named = parse_master(master)
        if isinstance(named, ZooKeeper):
            named = (find_leader(named, ZOOKEEPER_SECONDS),)
        agents: list[dict[str, Any]] = []
        for number, address in enumerate(named, 1):
            try:
                agents = Exchange(reach(address, MASTER_SECONDS), MASTER_SECONDS).get_agents({})
                break
            except RoujiamoError:
                # Another one may lead.
                if number == len(named):
                    raise
    except RoujiamoError as error:
        yield Finding("master", BAD, str(error))
        return
    yield Finding("master", GOOD, f"{address} answers")
    active = [agent for agent in agents if agent.get("active")]
    if not active:
        yield Finding(
            "agents", BAD, "the master knows no active agent; start one, or wait until they are back"
        )
        return
    names = [str(agent["hostname"]) for agent in active]
    most = max(float(agent["resources"].get("cpus", 0)) for agent in active)
    yield Finding("agents", GOOD, f"{len(active)}: {listing(names)}; the largest has {most:g} cpus")
    own = [name for name, meaning in look_up(names).items() if meaning == OWN]
    if own:
        text = f"{listing(own)}: a launcher would take this name for the launch host; it is given an alias for it"
        yield Finding("names", NOTE, text)
