"""`roujiamo run` inside an allocation: mpiexec on the hosts that are held already, as srun(1) does in salloc(1).

Runs in the user's shell, where `roujiamo alloc` has set ROUJIAMO_SOCKET. No session is started and none is ended: the
allocation's broker is asked who the hosts are, mpiexec gets as many of them as -N and -n say, and what else sizes or
places a session belongs to the allocation.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from roujiamo.errors import RoujiamoError, SessionGone, UsageError
from roujiamo.run import launcher as launchers
from roujiamo.run.child import Child
from roujiamo.run.options import RunOptions
from roujiamo.run.progress import Progress
from roujiamo.run.strays import Strays
from roujiamo.run.waiting import Happening, SignalCame, Waiting
from roujiamo.session.secret_words import without_secrets
from roujiamo.system.log_files import open_logs
from roujiamo.system.processes import read_process
from roujiamo.system.runtime_folder import RUN_PREFIX
from roujiamo.system.sessions import ask

# What may be said of a run in an allocation; the rest was said when that was made.
_OWN = frozenset(
    {
        *("nodes", "processes", "name", "mpiexec", "mpi_arguments", "interface", "ports", "prefix"),
        *("verbosity", "quiet", "log_file", "log_json"),
    }
)
# In the names of the variables that tell an MPI what a field says.
_OF_FIELD = {"interface": ("if_include", "iface"), "ports": ("port",)}


class JoinedSession:
    """An allocation's session, as far as a run in it has to know it: it is its owner's to end."""

    losses: Sequence[str] = ()
    is_time_up = False

    def __init__(self, progress: Progress) -> None:
        self.stop_signals = 0
        self._progress = progress

    def take_in(self, happening: Happening) -> bool:
        """Nothing that happens is the session's; what it loses, mpiexec loses."""
        return False

    def take_stop_signal(self, came: SignalCame) -> None:
        """Note that the user wants the end."""
        self.stop_signals += 1

    def tell(self, sentence: str) -> None:
        """Say something about the run to its user."""
        self._progress.say(0, sentence)


def run_in_allocation(options: RunOptions, folder: Path) -> int:
    """Run mpiexec in the session of `folder`; return the exit status. Raises RoujiamoError."""
    request = options.request
    given = {
        flag: field
        for field, flag in options.settings.sources.items()
        if flag.startswith("--") and field not in _OWN
    }
    if given:
        flags = ", ".join(sorted(given))
        raise UsageError(
            f"{flags}: that is the allocation's, in which this runs; give it to `roujiamo alloc`, or --master with it "
            "for a session of its own"
        )
    progress = Progress(
        sys.stderr,
        verbosity=request.verbosity,
        quiet=options.launch.quiet,
        logs=open_logs(request.log_file, request.log_json),
    )
    launcher = launchers.find_launcher(options.launch.mpiexec)
    status = _status(folder)
    hosts = _chosen([host for host in status["hosts"] if host["state"] == "ready"], options)
    processes = _said(options, "processes") or sum(host["slots"] for host in hosts)
    with contextlib.closing(progress), _own_folder(folder) as own:
        request = request._replace(folder=own, exclusive=bool(status.get("exclusive")))
        ready = {"socket": os.environ["ROUJIAMO_SOCKET"], "hosts": hosts}
        plan = launchers.launch_plan(request, options.launch, ready)
        arguments = options.launch.mpi_arguments
        launchers.refuse(launcher, plan, arguments)
        launchers.prepare_folder(plan)
        line = launchers.launch_line(launcher, plan, processes, arguments, options.command)
        said = launchers.said_parameters(launcher.path, arguments)
        replaced = [word for field, words in _OF_FIELD.items() if _said(options, field) for word in words]
        environment = launchers.launch_environment(launcher.dialect, plan, ready, said, replaced)
        progress.say(1, f"{launcher.name}, in the allocation: {shlex.join(without_secrets(line))}")
        with Waiting() as waiting:
            session = JoinedSession(progress)
            child = Child(launcher.path, line, environment, waiting, is_own_master=False)
            _name_child(folder, child.pid, os.path.basename(own), progress)
            strays = Strays(child.pid)
            ended = child.follow(session, strays.look)
        doubt = None if ended else strays.found or _lost(folder, hosts)
        if doubt is not None:
            progress.say(0, f"{doubt}; {launcher.path} said 0 all the same, so the result cannot be trusted")
            return RoujiamoError.exit_status
        return ended


def _status(folder: Path) -> dict[str, Any]:
    """Return what the allocation is, with a host that is ready at least. Raises SessionGone, RoujiamoError."""
    try:
        status = ask(folder, {"request": "status"})
    except SessionGone as error:
        raise SessionGone(
            "the allocation that ROUJIAMO_SOCKET names has ended; leave its shell, or give --master for a session of "
            "its own"
        ) from error
    if all(host["state"] != "ready" for host in status["hosts"]):
        raise RoujiamoError(f"the session {status['session']} has no host that is ready")
    return status


def _name_child(folder: Path, pid: int, own: str, progress: Progress) -> None:
    """Have the allocation's broker end mpiexec, should this process be killed."""
    child, this = read_process(pid), read_process(os.getpid())
    if child is None or this is None:
        return
    request = {"request": "child", "pid": pid, "start": child.start, "folder": own}
    try:
        answer = ask(folder, {**request, "owner": this.pid, "owner_start": this.start})
    except RoujiamoError as error:
        answer = {"error": str(error)}
    if "error" in answer:
        progress.say(1, f"mpiexec would outlive this program, were it killed: {answer['error']}")


def _said(options: RunOptions, field: str) -> Any:
    """Return a value that the command line has said: variables and configurations have sized the allocation."""
    value = options.settings.values.get(field)
    return value if options.settings.sources.get(field, "").startswith("-") else None


def _chosen(hosts: list[dict[str, Any]], options: RunOptions) -> list[dict[str, Any]]:
    """Return as many of the hosts as -N and -n want. Raises UsageError where there are fewer."""
    nodes, processes = _said(options, "nodes"), _said(options, "processes")
    if nodes is not None and nodes > len(hosts):
        raise UsageError(f"-N {nodes}: the allocation has {len(hosts)} hosts")
    chosen = hosts[:nodes]
    slots = sum(host["slots"] for host in chosen)
    if processes is not None and processes > slots:
        raise UsageError(f"-n {processes}: these {len(chosen)} hosts of the allocation have {slots} slots")
    return chosen


@contextlib.contextmanager
def _own_folder(session: Path) -> Iterator[str]:
    """A folder for this run's hostfiles and temporary files; it goes with the run, or with the session."""
    try:
        folder = tempfile.mkdtemp(prefix=RUN_PREFIX, dir=session)
    except OSError as error:
        raise RoujiamoError(f"cannot make a folder in {session}: {error.strerror}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _lost(folder: Path, hosts: list[dict[str, Any]]) -> str | None:
    """Return what a success cannot be one with: a host of the run that is lost."""
    try:
        status = ask(folder, {"request": "status"})
    except RoujiamoError:
        return "the allocation ended meanwhile"
    used = {host["task_id"] for host in hosts}
    losses = [host["loss"] for host in status["hosts"] if host["task_id"] in used and host["state"] == "lost"]
    return str(losses[0]) if losses else None
