"""`roujiamo alloc`: a session around any command, by default the user's shell.

Runs in the user's shell, as `roujiamo run` does. The command gets the environment of every MPI that is known, so that
a plain mpiexec of any of them uses the session. What it does with its terminal's keys is its own matter; a lost host is
told, and ends nothing.
"""

from __future__ import annotations

import os
import pwd
import sys

from roujiamo.errors import LauncherError, TimeLimitReached
from roujiamo.run import launcher as launchers
from roujiamo.run.child import Child
from roujiamo.run.held_session import HeldSession
from roujiamo.run.options import RunOptions
from roujiamo.run.progress import Progress
from roujiamo.run.record import Record, kept
from roujiamo.run.timeline_file import check_place, write_timeline
from roujiamo.run.waiting import Waiting
from roujiamo.session import timeline
from roujiamo.session.names import listing
from roujiamo.system.programs import find_program


def alloc(options: RunOptions) -> int:
    """Do what `roujiamo alloc` does; return the command's exit status. Raises RoujiamoError."""
    return kept(options, _alloc)


def _alloc(options: RunOptions, progress: Progress, record: Record) -> int:
    request, launch = options.request, options.launch
    command = list(options.command) or [_shell()]
    path = _find(command[0])
    launchers.shim_folder()
    check_place(launch.timeline)
    # In a pipe we are silent when all is well, as `roujiamo run` is.
    told = 0 if not options.command and sys.stderr.isatty() and not launch.quiet else 1
    with Waiting() as waiting:
        session = HeldSession(request._replace(shims_explain=True), waiting, progress, record.session)
        record.note_session(session)
        try:
            session.wait_until_ready()
            plan = launchers.launch_plan(session.request, launch, session.ready)
            for caution in launchers.cautions(plan):
                progress.say(0, caution)
            launchers.prepare_folder(plan)
            environment = launchers.launch_environment(
                None, plan, session.ready, launchers.said_parameters(find_program("mpiexec"))
            )
            hosts = [f"{host['name']} ({host['slots']})" for host in session.ready["hosts"]]
            progress.say(told, f"{listing(hosts)}: yours until {os.path.basename(command[0])} ends")
            record.note_launch(session, command)
            child = Child(path, command, environment, waiting, is_own_master=True)
            session.note(timeline.PROGRAM_STARTED)
            status = child.follow(session)
            session.note(timeline.PROGRAM_ENDED)
            record.keep_host_logs(session, progress, has_failed=status != 0)
        finally:
            session.close()
            if launch.timeline is not None:
                program = os.path.basename(command[0])
                title = f"{request.name}: {program} with {len(session.ready.get('hosts', ()))} hosts"
                trouble = write_timeline(launch.timeline, session.moments, program, title)
                if trouble is not None:
                    progress.say(0, trouble)
    progress.say(told, "the hosts are given back")
    return TimeLimitReached.exit_status if session.is_time_up else status


def _shell() -> str:
    """The user's shell: $SHELL, else the account's (passwd(5)), else /bin/sh."""
    shell = os.environ.get("SHELL", "")
    if not shell:
        try:
            shell = pwd.getpwuid(os.geteuid()).pw_shell
        except KeyError:
            shell = ""
    return shell or "/bin/sh"


def _find(name: str) -> str:
    """Return the path of a command. Raises LauncherError, before anything is asked of the master."""
    path = find_program(name)
    if path is None:
        failure = LauncherError(f"there is no command {name} here; look at its name and at PATH")
        if os.path.exists(name):
            failure = LauncherError(f"{name} cannot be executed; look at its mode")
            failure.exit_status = 126
        raise failure
    return path
