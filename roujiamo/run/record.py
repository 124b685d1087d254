"""What is kept of a run: the log files, and the folder of `--output`.

Runs in `roujiamo run` and `roujiamo alloc`, around all that they do, so that a launch that failed has its record too.
The folder is the user's alone and holds no secret (see `roujiamo.session.secret_words`):

    run.json                      options and who has said so, hosts, mpiexec's line, times, exit status, the failure
    log, log.json                 what was said, and the broker's log
    timeline.json, timeline.svg   what happened when, on each host
    hosts/HOST.stdout, .stderr    what the hosts' tasks have written in their sandboxes

The program's own stdout and stderr are not in it: they are the user's.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import roujiamo
from roujiamo.errors import RoujiamoError, UsageError
from roujiamo.run.held_session import HeldSession
from roujiamo.run.options import RunOptions
from roujiamo.run.progress import ERROR, Progress
from roujiamo.run.timeline_file import write_timeline
from roujiamo.session.secret_words import without_secrets
from roujiamo.system.session_client import current_user, new_session_name

if TYPE_CHECKING:
    import logging

    from roujiamo.session.request import SessionRequest
    from roujiamo.system.sandboxes import Sandbox

# The hosts' logs are read while the session is still there, at the cost of its end coming later.
HOST_LOGS_SECONDS = 15.0

Body = Callable[[RunOptions, Progress, "Record"], int]


def kept(options: RunOptions, body: Body) -> int:
    """Do `body` and keep what is wanted of it; return its exit status. Raises what it raises."""
    record = Record(options)
    options = record.options
    request = options.request
    try:
        logs = _open_logs(request)
    except UsageError:
        record.withdraw()
        raise
    progress = Progress(sys.stderr, verbosity=request.verbosity, quiet=options.launch.quiet, logs=logs)
    try:
        status = body(options, progress, record)
    except RoujiamoError as error:
        progress.log(ERROR, str(error))
        record.end(error.exit_status, str(error), progress)
        raise
    else:
        record.end(status, None, progress)
        return status
    finally:
        progress.close()


def _open_logs(request: SessionRequest) -> Sequence[logging.Handler]:
    """Raises UsageError."""
    if request.log_file is None and request.log_json is None:
        return ()
    from roujiamo.system.log_files import open_logs

    return open_logs(request.log_file, request.log_json)


class Record:
    """The folder of `--output`, where there is one; else nothing is kept. `options`: with what the record needs.

    `session`: the id of the session that is to be started.
    """

    def __init__(self, options: RunOptions) -> None:
        """Make the folder. Raises UsageError where it cannot be, or holds something."""
        self.options = options
        self.session = new_session_name()
        self._folder: Path | None = None
        self._content: dict[str, Any] = {}
        self._session: HeldSession | None = None
        if options.launch.output is None:
            return
        request = options.request
        name = _named(options.launch.output, self.session, request.name)
        self._folder = folder = Path(os.path.abspath(name))
        try:
            folder.mkdir(0o700, parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise UsageError(
                    f"--output {name}: there is something in it; name another folder, or one for each run by %j"
                )
            # One that was there may be open to others.
            folder.chmod(0o700)
        except OSError as error:
            raise UsageError(f"--output {name}: cannot be made: {error.strerror}") from error
        request = request._replace(
            tells_moments=True,
            log_file=request.log_file or str(folder / "log"),
            log_json=request.log_json or str(folder / "log.json"),
        )
        self.options = options._replace(request=request)
        self._content = {
            "roujiamo": roujiamo.__version__,
            "session": self.session,
            "name": request.name,
            "command": without_secrets(options.command),
            "directory": os.getcwd(),
            "launch_host": socket.gethostname(),
            "user": current_user(),
            "started": time.time(),
            "settings": [
                {"option": flag, "value": value, "from": source}
                for flag, value, source in options.settings.shown()
            ],
            "configurations": list(options.settings.files),
            "logs": [request.log_file, request.log_json],
            "hosts": [],
        }
        self._write()

    def withdraw(self) -> None:
        """Leave the folder empty, as it may be named again: nothing was done."""
        if self._folder is not None:
            for name in ("run.json", "log", "log.json"):
                (self._folder / name).unlink(missing_ok=True)

    def note_session(self, session: HeldSession) -> None:
        """Remember the session, whose moments belong to the record."""
        self._session = session

    def note_launch(self, session: HeldSession, line: Sequence[str], mpi: str = "") -> None:
        """Keep who the hosts are and what is run with them."""
        if self._folder is None:
            return
        self._content["hosts"] = [
            {key: host[key] for key in ("name", "slots", "task_id", "agent_id")}
            for host in session.ready["hosts"]
        ]
        self._content["mpi"] = mpi
        self._content["line"] = without_secrets(line)
        self._write()

    def keep_host_logs(self, session: HeldSession, progress: Progress, *, has_failed: bool) -> None:
        """Read what the hosts' tasks have written, while they are still there; never for long."""
        if self._folder is None or session.stop_signals or not session.ready:
            return
        # Read in many ways, over HTTP too, which takes its time to load.
        from roujiamo.run.host_logs import HostLogs
        from roujiamo.system.sandboxes import find_sandboxes
        from roujiamo.system.sessions import ask

        path = Path(session.request.folder)

        def find(complain: Callable[[str], None]) -> list[Sandbox]:
            return find_sandboxes(path, ask(path, {"request": "status"}), (), complain)

        try:
            logs = HostLogs(find, self._folder / "hosts")
        except RuntimeError as error:
            progress.say(0, f"the record lacks the hosts' logs: {error}")
            return
        deadline = time.monotonic() + HOST_LOGS_SECONDS
        session.wait_while(lambda: logs.goes_on, deadline, explains=has_failed)
        missing = logs.stop()
        if missing is not None:
            progress.say(0, f"the record lacks logs of the hosts: {missing}")

    def end(self, status: int, failure: str | None, progress: Progress) -> None:
        """Keep how it ended."""
        if self._folder is None:
            return
        self._content.update(ended=time.time(), exit_status=status, failure=failure)
        if self._session is not None:
            program = (
                "mpiexec"
                if self._content.get("mpi")
                else os.path.basename(self._content.get("line", ["it"])[0])
            )
            title = f"{self._content['name']}: {program} over {len(self._content['hosts'])} hosts"
            for ending in ("json", "svg"):
                path = str(self._folder / f"timeline.{ending}")
                trouble = write_timeline(path, self._session.moments, program, title)
                if trouble is not None:
                    progress.say(0, trouble)
        try:
            self._write()
        except UsageError as error:
            progress.say(0, str(error))
        progress.say(1, f"the record of the run is in {self._folder}")

    def _write(self) -> None:
        """Raises UsageError."""
        assert self._folder is not None
        path = self._folder / "run.json"
        try:
            # Never half a file, whoever is killed when.
            fresh = path.with_name(".run.json")
            fresh.write_text(json.dumps(self._content, indent=2) + "\n", encoding="utf-8")
            fresh.chmod(0o600)
            fresh.replace(path)
        except OSError as error:
            raise UsageError(f"--output: {path} cannot be written: {error.strerror}") from error


def _named(pattern: str, session: str, name: str) -> str:
    """Return the folder's name, as srun(1) fills patterns in: %j the session, %x its name, %% a percent sign."""
    filled: Mapping[str, str] = {"j": session, "x": name.replace("/", "_"), "%": "%"}

    def fill(found: re.Match[str]) -> str:
        if found[1] not in filled:
            raise UsageError(
                f"--output {pattern}: {found[0]} is neither %j (the session), %x (its name) nor %%"
            )
        return filled[found[1]]

    return re.sub("%(.?)", fill, pattern, flags=re.DOTALL)
