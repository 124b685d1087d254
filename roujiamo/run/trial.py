"""`roujiamo doctor --trial`: a real task on each agent, which looks around there, and a real mpiexec over it.

Runs in the user's shell. One small session after the other, so that an agent's trouble is its own: the task is
launched, calls back, is asked what it sees of its host, and has the user's mpiexec start one process there. Each step
is bounded in time. Trusts the hosts for what they say of themselves.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from roujiamo.errors import AllocationTimeout, RoujiamoError
from roujiamo.run import launcher as launchers
from roujiamo.run.asking import ask
from roujiamo.run.explaining import explained, programs_folder
from roujiamo.run.findings import BAD, GOOD, NOTE, Finding
from roujiamo.run.held_session import HeldSession, Interrupted
from roujiamo.run.options import RunOptions
from roujiamo.run.progress import Progress
from roujiamo.run.waiting import Waiting
from roujiamo.session import host_look
from roujiamo.session.names import HostNames, natural_order
from roujiamo.session.request import SessionRequest

# Of a large cluster some will do; --host names others.
MAX_TRIED = 8
# An agent whose resources are all in use has none to offer.
OFFER_SECONDS = 20.0
LOOK_SECONDS = 15.0
LAUNCH_SECONDS = 60.0
# Enough for a task that only looks around, and for one process of MPI's.
TRIAL_CPUS, TRIAL_MEM = 0.1, 64.0
# prterun 5.0.11 may hang where all ranks end in the moment of their start.
TRIAL_PROGRAM = ("sh", "-c", "sleep 0.5")
MAX_OUTPUT = 400


def try_agents(options: RunOptions, agents: Sequence[str], *, is_local: bool) -> Iterator[Finding]:
    """Try the agents that the options choose among `agents` (their names); yield what is found as it is found."""
    # A local cluster is not there yet; its agents are agent1 and so on.
    chosen = list(_names(options.request.only_hosts)) if is_local else _chosen(options.request, agents)
    if not chosen and not is_local:
        yield Finding(
            "trial", BAD, "--host and --exclude leave no agent to try; those that there are stand above"
        )
        return
    if len(chosen) > MAX_TRIED:
        text = f"{MAX_TRIED} of {len(chosen)} agents are tried; --host names others"
        yield Finding("trial", NOTE, text)
    launcher = _launcher(options)
    tried = 0
    names: list[str | None] = [*chosen[:MAX_TRIED]]
    for name in names or [None]:
        trial = _Trial(options, launcher, name)
        yield from trial.run()
        tried += trial.was_ready
    if not tried:
        yield Finding("trial", BAD, "no task was seen to run, so no run would work now")


def _chosen(request: SessionRequest, agents: Iterable[str]) -> list[str]:
    """Return the agents that --host and --exclude leave, each name once."""
    only, excluded = HostNames(_names(request.only_hosts)), HostNames(_names(request.exclude_hosts))
    return [
        name
        for name in sorted(set(agents), key=natural_order)
        if (not request.only_hosts or only.find(name)) and not excluded.find(name)
    ]


def _names(lists: Iterable[str]) -> Iterator[str]:
    return (name for each in lists for name in each.split(",") if name)


def _launcher(options: RunOptions) -> launchers.Launcher | None:
    with contextlib.suppress(RoujiamoError):
        return launchers.find_launcher(options.launch.mpiexec)
    return None


class _FirstTrouble(Progress):
    """Shows nothing but how far the trial is; the first host that fails ends the wait for it."""

    def show(self, event: dict[str, Any]) -> None:
        if event.get("trouble") and event.get("phase") == "tasks":
            raise RoujiamoError(str(event["text"]))
        super().show(event)


class _Trial:
    """One agent's trial. `name` None: of whichever agent there is."""

    def __init__(self, options: RunOptions, launcher: launchers.Launcher | None, name: str | None) -> None:
        self.was_ready = False
        self._options = options
        self._launcher = launcher
        self._name = name or "an agent"
        self._request = options.request._replace(
            name="doctor",
            nodes=1,
            processes=1,
            cpus_per_host=TRIAL_CPUS,
            mem_per_host=TRIAL_MEM,
            gpus_per_process=0.0,
            gpus_per_host=0.0,
            exclusive=False,
            max_slots_per_host=None,
            only_hosts=(name,) if name is not None else (),
            exclude_hosts=(),
            timeout_seconds=min(options.request.timeout_seconds, OFFER_SECONDS),
        )

    def run(self) -> Iterator[Finding]:
        """Have the task run; yield what it was like."""
        progress = _FirstTrouble(
            sys.stderr, verbosity=self._request.verbosity, quiet=self._options.launch.quiet
        )
        found: list[Finding] = []
        with Waiting() as waiting:
            session: HeldSession | None = None
            ended: subprocess.CompletedProcess[bytes] | None = None
            try:
                session = HeldSession(self._request, waiting, progress)
                session.wait_until_ready()
                self.was_ready = True
                (host,) = session.ready["hosts"]
                self._name = str(host["name"])
                found += self._look(session, host)
                if self._launcher is not None:
                    ended = self._launch(self._launcher, session, waiting)
            except Interrupted:
                raise
            except (RoujiamoError, OSError) as error:
                found.append(self._failure(error))
            finally:
                if session is not None:
                    session.close()
        if session is None:
            yield from found
            return
        if session.stop_signals:
            raise Interrupted(signal.SIGINT)
        yield from found
        if ended is not None and self._launcher is not None:
            yield self._launched(self._launcher, session, ended)

    def _failure(self, error: Exception) -> Finding:
        if not self.was_ready and getattr(error, "exit_status", 1) == AllocationTimeout.exit_status:
            # All in use, most often: that is no fault of the agent's.
            return Finding(self._name, NOTE, f"could not be tried: {error}")
        return Finding(self._name, BAD, str(error))

    def _look(self, session: HeldSession, host: dict[str, Any]) -> Iterator[Finding]:
        facts, launcher, directory = host["facts"], self._launcher, os.getcwd()
        known = launcher.dialect if launcher is not None else None
        folder = programs_folder(launcher, self._request.prefix) if launcher is not None else ""
        command = host_look.look_command(
            directory=directory,
            folder=folder,
            daemon=known.daemon if known is not None else "",
            mpiexec=os.path.basename(launcher.path) if launcher is not None and known is not None else "",
        )
        answer = ask([host], str(session.ready["socket"]), command, LOOK_SECONDS)[str(host["alias"])]
        text = (
            f"a task ran as {facts.get('user', '?')} with python {facts.get('python', '?')} and called back"
        )
        yield Finding(self._name, GOOD, f"{text} to {host['callback_address']}")
        if answer is None:
            yield Finding(self._name, BAD, f"a shell command there gave no answer in {LOOK_SECONDS:.0f} s")
            return
        look = host_look.read_look(answer)
        troubles = host_look.folder_troubles(look)
        if known is not None and launcher is not None:
            trouble = host_look.mpi_trouble(look, folder, known.daemon)
            troubles += [trouble] if trouble is not None else []
        for sentence in troubles:
            yield Finding(self._name, BAD, sentence)
        notes = host_look.notes(look, directory)
        if known is not None and launcher is not None:
            other = host_look.version_note(look, folder, launcher.version)
            notes += [other] if other is not None else []
        for sentence in notes:
            yield Finding(self._name, NOTE, sentence)
        if not troubles:
            folders = f"{look.get('folder', '/tmp')}, /dev/shm and the sandbox can be written to"
            yield Finding(
                self._name, GOOD, f"{folders}; {look.get('files', '?')} open files, {_processes(look)}"
            )

    def _launch(
        self, launcher: launchers.Launcher, session: HeldSession, waiting: Waiting
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the user's mpiexec over the session's one host."""
        options = self._options
        plan = launchers.launch_plan(session.request, options.launch, session.ready)
        launchers.refuse(launcher, plan, options.launch.mpi_arguments)
        launchers.prepare_folder(plan)
        arguments = options.launch.mpi_arguments
        line = launchers.launch_line(launcher, plan, 1, arguments, TRIAL_PROGRAM)
        said = launchers.said_parameters(launcher.path, arguments)
        environment = launchers.launch_environment(launcher.dialect, plan, session.ready, said)
        mask = waiting.previous_mask
        process = subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, mask),
        )
        with process:
            try:
                output, _ = process.communicate(timeout=LAUNCH_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                output = f"it had not ended after {LAUNCH_SECONDS:.0f} s".encode()
        return subprocess.CompletedProcess(line, process.returncode, output)

    def _launched(
        self, launcher: launchers.Launcher, session: HeldSession, ended: subprocess.CompletedProcess[bytes]
    ) -> Finding:
        told = explained(session)
        if told:
            return Finding(self._name, BAD, "; ".join(told))
        if ended.returncode:
            lines = [
                line for line in ended.stdout.decode("utf-8", "replace").splitlines() if line.strip(" -=*")
            ]
            said = " / ".join(line.strip() for line in lines)[-MAX_OUTPUT:]
            return Finding(self._name, BAD, f"mpiexec over it ended with {ended.returncode}: {said}")
        if session.is_unused:
            return Finding(
                self._name, BAD, "mpiexec started nothing there: it ran its process on this machine"
            )
        number = host_look.version_number(launcher.version)
        version = f" ({number})" if number else ""
        return Finding(self._name, GOOD, f"{launcher.name}{version} started a process there")


def _processes(look: dict[str, str]) -> str:
    value = look.get("processes", "?")
    return f"{value} processes" if value.isdigit() else "processes without limit"
