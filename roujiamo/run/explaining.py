"""What `roujiamo run` says of a failed mpiexec: what is known of its daemons' ends, else what a look around finds.

Runs in `roujiamo run`. What mpiexec itself knows it has said already; of ranks that fail by themselves nothing is said.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from roujiamo import dialects
from roujiamo.errors import RoujiamoError
from roujiamo.run.asking import ask
from roujiamo.run.held_session import HeldSession
from roujiamo.run.launcher import Launcher
from roujiamo.session import host_look
from roujiamo.session.explanations import Ending, Explanation, explain_daemon, is_found_by_prefix, sentences

# A program that is not there shows soon; later a look would only hold the user up.
LOOK_WITHIN_SECONDS = 120.0
MAX_LOOKED_AT = 16
LOOK_SECONDS = 5.0


def explained(session: HeldSession, found: Sequence[str] = ()) -> list[str]:
    """Return what is known to have kept daemons from running, and what to do about it.

    What a host said counts for more than what a look around `found` (see `found_around`), and that for more than ends
    without a word: launchers kill their daemons themselves, Intel's where a rank's program cannot be started, MPICH's
    now and then where another daemon cannot.
    """
    known = _known(session)
    said = [each for each in known if each.line]
    return sentences(said) if said else list(found) or sentences(known)


def found_around(
    session: HeldSession, launcher: Launcher, arguments: Sequence[str], program: str, seconds: float
) -> list[str]:
    """Look at the hosts after mpiexec's failure; return what keeps daemons or ranks from starting there.

    `arguments`: mpiexec's own. `seconds`: how long it ran. The session must be open still.
    """
    if launcher.dialect is None or seconds > LOOK_WITHIN_SECONDS or session.losses or session.stop_signals:
        return []
    if any(each.line for each in _known(session)):
        return []
    if host_look.looks_elsewhere(arguments):
        program = ""
    silent = {ending.host for ending in _endings(session)}
    command = host_look.look_command(
        directory=os.getcwd(),
        program=program,
        folder=programs_folder(launcher, session.request.prefix),
    )
    hosts = session.ready["hosts"][:MAX_LOOKED_AT]
    try:
        answers = ask(hosts, str(session.ready["socket"]), command, LOOK_SECONDS)
    except (RoujiamoError, OSError):
        # It only serves to explain things.
        return []
    found = []
    for each in hosts:
        host, answer = str(each["name"]), answers[str(each["alias"])]
        look = host_look.read_look(answer or "")
        troubles = [host_look.program_trouble(look, program)] if program else []
        if host in silent:
            troubles += host_look.folder_troubles(look)
        found += [Explanation(host, "", trouble) for trouble in troubles if trouble is not None]
    return sentences(found)


def programs_folder(launcher: Launcher, prefix: str | None) -> str:
    """Return the folder in which the hosts should have the MPI's programs."""
    if prefix is not None and launcher.dialect is not None and is_found_by_prefix(launcher.dialect.daemon):
        return f"{prefix}/bin"
    return os.path.dirname(launcher.path)


def _known(session: HeldSession) -> list[Explanation]:
    return [each for each in map(explain_daemon, _endings(session)) if each is not None]


def _endings(session: HeldSession) -> list[Ending]:
    return [
        Ending(str(event["host"]), daemon, int(event["status"]), str(event["stderr"]))
        for event in session.failed_commands
        if (daemon := dialects.daemon_of(str(event["command"]))) is not None
    ]
