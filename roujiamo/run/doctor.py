"""`roujiamo doctor`: would a run work from here? Each check gives a verdict, and a remedy where it is not good.

Runs in the user's shell. Without --trial it starts nothing on the cluster: it looks at this machine, at the mpiexec,
and at what the master says of itself and its agents. Every question is bounded in time.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from roujiamo.errors import RoujiamoError
from roujiamo.pymesos_driver.loading import load_pymesos
from roujiamo.run import launcher as launchers
from roujiamo.run.findings import BAD, GOOD, NOTE, Finding
from roujiamo.run.launch_hosts import OWN, look_up
from roujiamo.run.master_check import MasterCheck
from roujiamo.run.options import RunOptions
from roujiamo.run.trial import try_agents
from roujiamo.session.local_master import is_local
from roujiamo.session.names import listing
from roujiamo.session.settings import Settings
from roujiamo.system.runtime_folder import runtime_folder

# Each host is a connection, each remote command a shim's and a channel.
ENOUGH_DESCRIPTORS = 1024
ENOUGH_PROCESSES = 512
CHECK_WIDTH = 13

WITHOUT_A_WRAPPER = (
    "with mpiexec alone (ROUJIAMO_MASTER) hosts come one by one and not all or none, nobody checks that every rank "
    "ran in a task, and under tree spawn the agent has to be named without a path; `roujiamo run` has no such limits"
)


def doctor(options: RunOptions, *, as_json: bool, with_trial: bool) -> int:
    """Print the findings as they come; return 0 where a run would work, else 1."""
    findings = []
    for finding in _examine(options, with_trial):
        findings.append(finding)
        if not as_json:
            _print(finding)
    if as_json:
        print(json.dumps([asdict(each) for each in findings], indent=2))
    bad = [each.check for each in findings if each.verdict == BAD]
    if not as_json:
        print(f"\n{_verdict(bad, with_trial)}")
    return int(bool(bad))


def _print(finding: Finding) -> None:
    """Print one finding; what does not fit a terminal's line goes on below itself."""
    start = f"{finding.verdict:<4}  {finding.check:<{CHECK_WIDTH}}  "
    width = max(shutil.get_terminal_size().columns - 1, 60) if sys.stdout.isatty() else sys.maxsize
    indent = " " * len(f"{GOOD:<4}  {'':<{CHECK_WIDTH}}  ")
    lines = textwrap.wrap(finding.text, max(width - len(indent), 30), break_on_hyphens=False) or [""]
    print(start + f"\n{indent}".join(lines), flush=True)


def _verdict(bad: list[str], with_trial: bool) -> str:
    if bad:
        return f"A run would not work: see {listing(dict.fromkeys(bad))}."
    if with_trial:
        return "A run would work: tasks and an mpiexec have just run there."
    return "Nothing stands against a run as far as this machine can see; --trial runs a task on each agent."


def _examine(options: RunOptions, with_trial: bool) -> Iterator[Finding]:
    yield Finding("python", GOOD, f"{sys.version.split()[0]} at {sys.executable}")
    for check, look in (("pymesos", _pymesos), ("psutil", _psutil), ("folder", _folder), ("agent", _agent)):
        yield _found(check, look)
    yield from _settings(options.settings)
    yield from _limits()
    yield _mpiexec(options)
    yield from _master(options, with_trial)
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


def _limits() -> Iterator[Finding]:
    yield _open_files()
    # Where mpiexec has a hundred agents, it has a hundred processes.
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if soft != resource.RLIM_INFINITY and soft < ENOUGH_PROCESSES and os.geteuid():
        text = f"only {soft} processes of yours may run here (`ulimit -u`), and each host takes one; have it raised"
        yield Finding("limits", NOTE, text)


def _open_files() -> Finding:
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


def _master(options: RunOptions, with_trial: bool) -> Iterator[Finding]:
    starts_own = is_local(options.request.master)
    names: list[str] = []
    if starts_own:
        yield Finding("master", GOOD, "a local cluster, started by each run")
    else:
        check = MasterCheck(options.request)
        yield from check.findings()
        names = check.names
    own = [name for name, meaning in look_up(names).items() if meaning == OWN]
    if own:
        text = f"{listing(own)}: a launcher would take this name for the launch host; it is given an alias for it"
        yield Finding("names", NOTE, text)
    if with_trial and (starts_own or names):
        yield from try_agents(options, names, is_local=starts_own)
