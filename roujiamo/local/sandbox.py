"""A task's sandbox: its folder, its user, its environment.

Used by an agent process and by its executors. The task's description comes from a framework, which may choose any
user: only root can grant that, anyone else's tasks all run as who runs the cluster (Mesos's --no-switch_user).
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What a Mesos agent gives its executors where it has none itself.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class SandboxError(Exception):
    """The sandbox cannot be made; the text is the message of the task's last update."""


@dataclass(frozen=True)
class User:
    """Who a task runs as."""

    name: str
    uid: int
    gid: int

    def become(self) -> None:
        """Give this process that user's ids for good."""
        if os.geteuid() == 0:
            os.initgroups(self.name, self.gid)
            os.setgid(self.gid)
            os.setuid(self.uid)


@dataclass(frozen=True)
class Place:
    """Where in an agent's work folder a task belongs."""

    work_dir: Path
    agent_id: str
    framework_id: str
    executor_id: str
    container_id: str

    @property
    def runs(self) -> Path:
        """The folder of all runs of this executor."""
        frameworks = self.work_dir / "slaves" / self.agent_id / "frameworks"
        return frameworks / self.framework_id / "executors" / self.executor_id / "runs"

    @property
    def directory(self) -> Path:
        """The sandbox."""
        return self.runs / self.container_id


def create(place: Place, user_name: str) -> User:
    """Make the sandbox, owned by the task's user; raises SandboxError with a Mesos agent's message."""
    directory = place.directory
    problem = f"Failed to create executor directory '{directory}': "
    try:
        place.runs.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o750)
        user = _find_user(user_name)
        if user is None:
            raise SandboxError(
                f"{problem}Failed to chown directory to '{user_name}': No such user '{user_name}'"
            )
        latest = place.runs / "latest"
        latest.unlink(missing_ok=True)
        latest.symlink_to(directory)
        for name in ("stdout", "stderr"):
            (directory / name).touch(mode=0o644)
            _give(directory / name, user)
        _give(directory, user)
    except OSError as error:
        raise SandboxError(f"{problem}{error.strerror}") from error
    return user


def environment(
    place: Place,
    command: dict[str, Any],
    *,
    task_id: str,
    agent_address: str,
    agent_pid: str,
    is_checkpointing: bool,
    hostname: str | None,
) -> dict[str, str]:
    """The task's whole environment: a Mesos command task's, then the task's own.

    `hostname` is given where the machine's own name shows through (no UTS namespace), so that a task can find its
    agent's name at all.
    """
    directory = str(place.directory)
    variables = {
        "LIBPROCESS_IP": agent_address.rpartition(":")[0],
        "LIBPROCESS_PORT": "0",
        "MESOS_AGENT_ENDPOINT": agent_address,
        "MESOS_CHECKPOINT": "1" if is_checkpointing else "0",
        "MESOS_DIRECTORY": directory,
        "MESOS_EXECUTOR_ID": place.executor_id,
        "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "5secs",
        "MESOS_FRAMEWORK_ID": place.framework_id,
        "MESOS_HTTP_COMMAND_EXECUTOR": "0",
        "MESOS_SANDBOX": directory,
        "MESOS_SLAVE_ID": place.agent_id,
        "MESOS_SLAVE_PID": agent_pid,
        "MESOS_TASK_ID": task_id,
        "PATH": DEFAULT_PATH,
        "PWD": directory,
    }
    if hostname is not None:
        variables["MESOS_HOSTNAME"] = hostname
    for variable in command.get("environment", {}).get("variables", []):
        variables[variable["name"]] = variable.get("value", "")
    return variables


def _find_user(name: str) -> User | None:
    if os.geteuid() != 0:
        return User(name, os.geteuid(), os.getegid())
    try:
        entry = pwd.getpwnam(name) if name else pwd.getpwuid(0)
    except (KeyError, ValueError):
        return None
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _give(path: Path, user: User) -> None:
    if os.geteuid() == 0:
        os.chown(path, user.uid, user.gid)
