"""The starter: from an MPI launcher's process to a broker that belongs to it.

Started by the launcher's first shim, which holds the lock (`roujiamo.shim.election`). It reads the session's sizes from
ROUJIAMO_* variables and the configurations, and the hosts' slots from the launcher's command line, starts the broker in
a process session of its own, waits until that listens, and ends. stdout is the shim's: `ready`, or the sentence that
says why not. stderr is mpiexec's, for what the user should know all the same. Trusts the user's own environment.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from roujiamo.errors import RoujiamoError, SessionGone, UsageError
from roujiamo.session import options
from roujiamo.session.launcher_line import local_names, parse_line, slots_by_host
from roujiamo.session.option_values import read_count
from roujiamo.session.request import SessionRequest
from roujiamo.session.settings import gather
from roujiamo.system.broker_client import SessionClient
from roujiamo.system.configuration import read_configurations
from roujiamo.system.identity import with_identity
from roujiamo.system.processes import Process, read_process
from roujiamo.system.runtime_folder import sweep
from roujiamo.system.session_client import current_user

# A local cluster takes its time where it has many agents.
LISTEN_SECONDS = 45.0
MAX_HOSTFILE = 16 << 20
SLOTS_VARIABLE = "ROUJIAMO_SLOTS"
# How many there are is the launcher's to say, one by one.
_NOT_FROM_SETTINGS = ("nodes", "processes")


def main(arguments: Sequence[str]) -> int:
    """Start the session of the owner `PID:START` in the folder named; return the exit status."""
    try:
        owner, folder = arguments
        pid, _, start = owner.partition(":")
        _start_session(int(pid), int(start), Path(folder))
    except ValueError:
        answer, status = "started by roujiamo-rsh itself; use that", UsageError.exit_status
    except RoujiamoError as error:
        answer, status = str(error), error.exit_status
    else:
        answer, status = "ready", 0
    print(answer, flush=True)
    return status


def _start_session(pid: int, start: int, folder: Path) -> None:
    owner = read_process(pid)
    if owner is None or owner.start != start:
        raise SessionGone("the launcher has ended")
    request = _request(owner, folder)
    sweep(folder.parent)
    client = SessionClient()
    client.ask_for(request)
    _wait_until_listening(client)


def _request(owner: Process, folder: Path) -> SessionRequest:
    """Return the request for the owner's session. Raises UsageError, naming the variable or the file that is wrong."""
    environment = dict(os.environ)
    values = gather(read_configurations(environment), environment, {}, without=_NOT_FROM_SETTINGS).values
    if not values.get("master"):
        raise UsageError(
            "there is neither ROUJIAMO_SOCKET nor ROUJIAMO_MASTER, and no configuration names a master; set one"
        )
    arguments = _command_line(owner)
    values.setdefault("name", os.path.basename(arguments[0]) if arguments else "roujiamo-rsh")
    per_host = _slots_per_host()
    slots = slots_by_host(
        parse_line(arguments, os.environ), lambda path: _read_hostfile(owner, path), per_host
    )
    for name in local_names(slots, socket.gethostname()):
        _say(
            f"{name} is this machine to the launcher, so it starts the ranks there by itself, outside Mesos; "
            "`roujiamo run` would not"
        )
    request = options.session_request(
        values,
        os.environ,
        user=values.get("user") or current_user(),
        folder=str(folder),
        owner_pid=owner.pid,
        owner_start=owner.start,
        is_on_demand=True,
        slots_by_host=slots,
        slots_per_host=per_host,
        shims_explain=True,
    )
    return with_identity(request, options.launch_options(values).secret_file, os.environ)


def _slots_per_host() -> int:
    text = os.environ.get(SLOTS_VARIABLE, "")
    try:
        return read_count(text) if text else 1
    except ValueError as error:
        raise UsageError(f"{SLOTS_VARIABLE}: {error}") from error


def _command_line(owner: Process) -> list[str]:
    try:
        text = Path(f"/proc/{owner.pid}/cmdline").read_bytes()
    except OSError:
        # Another user's, as with sudo: then the defaults hold.
        return []
    return [os.fsdecode(word) for word in text.split(b"\0")[:-1]]


def _read_hostfile(owner: Process, path: str) -> str:
    """Return the text of a hostfile, found from the launcher's working directory; "" where it cannot be read."""
    try:
        with open(os.path.join(f"/proc/{owner.pid}/cwd", path), encoding="utf-8", errors="replace") as file:
            return file.read(MAX_HOSTFILE)
    except OSError:
        return ""


def _wait_until_listening(client: SessionClient) -> None:
    """Raises the failure that the broker tells of."""
    client.control.settimeout(LISTEN_SECONDS)
    try:
        with client.control.makefile("rb") as lines:
            for line in lines:
                event = json.loads(line)
                if event["event"] == "listening":
                    return
                if event["event"] == "failed":
                    raise RoujiamoError(str(event["message"]))
    except (OSError, ValueError) as error:
        client.kill()
        raise SessionGone(f"the broker does not listen after {LISTEN_SECONDS:.0f} s: {error}") from error
    raise SessionGone("the broker ended before it listened; `roujiamo run` with -vv shows its log")


def _say(sentence: str) -> None:
    print(f"roujiamo: {sentence}", file=sys.stderr, flush=True)
