"""`roujiamo run`: a session around one mpiexec.

Runs in the user's shell. It finds the mpiexec, starts a broker, waits until the hosts are ready, writes the hostfile,
runs mpiexec with the environment that makes it use the session, ends the session, and gives back mpiexec's status.
stdin, stdout and stderr are mpiexec's own; what this program says goes to stderr.

Ctrl-C once asks for a clean stop, twice for one now. While mpiexec runs the terminal tells it itself; a signal that was
sent to this process alone is passed on.
"""

from __future__ import annotations

import shlex
import time
from functools import partial

from roujiamo.errors import RoujiamoError, TimeLimitReached
from roujiamo.run import launcher as launchers
from roujiamo.run.child import Child
from roujiamo.run.held_session import HeldSession
from roujiamo.run.options import RunOptions
from roujiamo.run.progress import Progress
from roujiamo.run.record import Record, kept
from roujiamo.run.strays import Strays
from roujiamo.run.timeline_file import check_place, write_timeline
from roujiamo.run.waiting import Waiting
from roujiamo.session import timeline
from roujiamo.session.secret_words import without_secrets
from roujiamo.system.broker_client import SessionClient


def run(options: RunOptions, client: SessionClient | None = None) -> int:
    """Do what `roujiamo run` does; return the exit status. Raises RoujiamoError.

    `client`: a broker that has been started, and not been asked for anything.
    """
    # Loads while we do.
    client = client or SessionClient()
    try:
        return kept(options, partial(_run, client))
    finally:
        client.give_up()


def _run(client: SessionClient, options: RunOptions, progress: Progress, record: Record) -> int:
    with launchers.Finding(options.launch.mpiexec) as finding, Waiting() as waiting:
        launchers.shim_folder()
        check_place(options.launch.timeline)
        session = HeldSession(options.request, waiting, progress, record.session, client)
        record.note_session(session)
        status = -1
        found: list[str] = []
        try:
            session.wait_until_ready(lambda: _prepare(finding, waiting))
            if not session.wait_for_child(finding.pid, launchers.VERSION_SECONDS):
                raise finding.no_answer()
            launcher = finding.answer()
            if launcher.dialect is None:
                progress.say(
                    0,
                    f"{launcher.path} is of no MPI that roujiamo knows ({launchers.known_names()}): its --version says "
                    f"{launcher.version!r}; it is told about the hosts in every way there is, and by ROUJIAMO_HOSTFILE",
                )
            started = time.monotonic()
            status, stray = _run_launcher(options, launcher, session, waiting, progress, record)
            if status and not session.is_time_up:
                from roujiamo.run.explaining import found_around

                seconds, arguments = time.monotonic() - started, options.launch.mpi_arguments
                found = found_around(session, launcher, arguments, options.command[0], seconds)
        finally:
            # What a success is worth, its daemons' ends tell: Open MPI 4 says 0 too where it lost its way to them
            # (orte/mca/errmgr/default_hnp, NO_PATH_TO_TARGET), and they fail a moment later.
            session.close(settle=status == 0)
            if options.launch.timeline is not None:
                title = f"{options.request.name}: mpiexec over {len(session.ready.get('hosts', ()))} hosts"
                trouble = write_timeline(options.launch.timeline, session.moments, "mpiexec", title)
                if trouble is not None:
                    progress.say(0, trouble)
    if session.is_time_up:
        return TimeLimitReached.exit_status
    # Loaded where it is needed: most runs need no explanation.
    from roujiamo.run.explaining import explained

    if status and not session.stop_signals:
        for sentence in (*session.causes, *session.remedies, *explained(session, found)):
            progress.say(0, sentence)
    doubt = None if status else _doubt(launcher, session, stray)
    if doubt is not None:
        for sentence in (*session.remedies, *explained(session)):
            progress.say(0, sentence)
        progress.say(0, f"{doubt}; {launcher.path} said 0 all the same, so the result cannot be trusted")
        return RoujiamoError.exit_status
    return status


def _prepare(finding: launchers.Finding, waiting: Waiting) -> None:
    """Do what takes time while the hosts come."""
    finding.begin(waiting.previous_mask)
    launchers.load()


def _run_launcher(
    options: RunOptions,
    launcher: launchers.Launcher,
    session: HeldSession,
    waiting: Waiting,
    progress: Progress,
    record: Record,
) -> tuple[int, str | None]:
    """Run mpiexec; return its status, and where its ranks ran if that was not in the tasks."""
    plan = launchers.launch_plan(session.request, options.launch, session.ready)
    launchers.refuse(launcher, plan, options.launch.mpi_arguments)
    launchers.prepare_folder(plan)
    processes = options.request.processes or sum(host.slots for host in plan.hosts)
    line = launchers.launch_line(launcher, plan, processes, options.launch.mpi_arguments, options.command)
    environment = launchers.launch_environment(
        launcher.dialect,
        plan,
        session.ready,
        launchers.said_parameters(launcher.path, options.launch.mpi_arguments),
    )
    progress.say(1, f"{launcher.name}: {shlex.join(without_secrets(line))}")
    record.note_launch(session, line, launcher.name)
    child = Child(launcher.path, line, environment, waiting, is_own_master=False)
    session.note(timeline.PROGRAM_STARTED)
    session.name_child(child.pid)
    strays = Strays(child.pid)
    status = child.follow(session, strays.look)
    session.note(timeline.PROGRAM_ENDED)
    record.keep_host_logs(session, progress, has_failed=status != 0)
    return status, strays.found


def _doubt(launcher: launchers.Launcher, session: HeldSession, stray: str | None) -> str | None:
    """Return why a launcher's success cannot be one: it lost a host or a daemon, or ran ranks elsewhere."""
    if session.losses:
        return session.losses[0]
    for event in session.failed_commands:
        if launcher.dialect is not None and launcher.dialect.is_daemon(str(event["command"])):
            return f"{launcher.dialect.daemon} on {event['host']} ended with status {event['status']}"
    if stray is not None:
        return stray
    if session.is_unused:
        return (
            "nothing was started on the session's hosts, so the ranks ran on this machine, outside Mesos; look for a "
            "host list in --mpi-args, in variables and in the MPI's configuration files"
        )
    return None
