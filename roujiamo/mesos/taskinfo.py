"""TaskInfo and the LAUNCH operation: what one host's task is, in the v1 JSON of Mesos.

Pure; used by the broker. Paths, images and limits are the user's: what would fail on the agent without a reason (an
environment that does not fit into the executor's argv ends with exit status 7 and no message) is a UsageError here.

Everything in a TaskInfo can be read by whoever may read the master's /state: no lasting secret belongs into it.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from roujiamo.errors import UsageError
from roujiamo.mesos.resources import JSON

MESOS = "mesos"
DOCKER = "docker"

# src/common/validation.cpp, validateID.
MAX_TASK_ID = 255
_FORBIDDEN_IN_ID = re.compile(r"[\x00-\x1f\x7f/\\]")

# The command executor gets the whole task as JSON in one argument, in which the environment stands twice, and Linux
# bounds one argument (MAX_ARG_STRLEN, execve(2)). Measured on 1.11.0: a text of 129,500 bytes runs, or one variable
# of 64,700; the difference to 131,072 is the rest of the task.
MAX_COMMAND_BYTES = 129_000

# RLimitInfo in mesos.proto, without its prefix RLMT_.
RLIMITS = (
    *("AS", "CORE", "CPU", "DATA", "FSIZE", "LOCKS", "MEMLOCK", "MSGQUEUE"),
    *("NICE", "NOFILE", "NPROC", "RSS", "RTPRIO", "RTTIME", "SIGPENDING", "STACK"),
)
_UNLIMITED = ("unlimited", "infinity", "-1")

_PARENT_FOLDER = re.compile(r"(^|/)\.\.(/|$)")


# What the fetcher unpacks (docs/fetcher.md, "Archive extraction"); anything else that is brought along is to be run.
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")


class Volume(NamedTuple):
    """A folder or file of the agent inside the container."""

    host_path: str
    container_path: str
    is_read_only: bool = False


class RLimit(NamedTuple):
    """One limit; both None means unlimited (RLimitInfo in mesos.proto)."""

    name: str
    soft: int | None = None
    hard: int | None = None


class Container(NamedTuple):
    """How the task is contained. The network is always the host's: MPI's daemons and ranks listen where they like.

    `shm_size_mb` is the size of /dev/shm, which MPI's shared-memory transport fills. `devices` are paths under /dev.
    With the Docker containerizer they are --device options; the Mesos containerizer has no such field, they are bound
    into the container, and the agent's --allowed_devices decides on their use.
    """

    containerizer: str = MESOS
    image: str | None = None
    volumes: Sequence[Volume] = ()
    devices: Sequence[str] = ()
    shm_size_mb: int | None = None
    rlimits: Sequence[RLimit] = ()
    force_pull: bool = False


def parse_volume(text: str) -> Volume:
    """Read HOST_PATH[:CONTAINER_PATH[:ro|rw]], as `docker run -v` does."""
    host_path, *rest = text.split(":")
    mode = rest.pop() if len(rest) == 2 else "rw"
    container_path = rest[0] if rest else host_path
    if (
        len(rest) > 1
        or mode not in ("ro", "rw")
        or not host_path.startswith("/")
        or not container_path.startswith("/")
    ):
        raise UsageError(f"the volume {text!r} is not of the form /PATH, /PATH:/PATH or /PATH:/PATH:ro")
    if _PARENT_FOLDER.search(host_path + ":" + container_path):
        raise UsageError(f"the volume {text!r} has '..' in a path: give the paths themselves")
    return Volume(host_path, container_path, mode == "ro")


def parse_rlimit(text: str) -> RLimit:
    """Read NAME=VALUE or NAME=SOFT:HARD, a value being a number or `unlimited`: memlock=unlimited, nofile=1024:4096."""
    name, _, values = text.partition("=")
    name = name.strip().upper()
    pieces = [piece.strip() for piece in values.split(":")]
    if name in RLIMITS and len(pieces) <= 2:
        if all(piece in _UNLIMITED for piece in pieces):
            return RLimit(name)
        if all(piece.isdecimal() for piece in pieces):
            soft, hard = int(pieces[0]), int(pieces[-1])
            if soft <= hard:
                return RLimit(name, soft, hard)
    raise UsageError(
        f"the limit {text!r} is not of the form NAME=NUMBER, NAME=SOFT:HARD or NAME=unlimited"
        f" with a NAME of {', '.join(each.lower() for each in RLIMITS)}"
    )


def task_info(
    *,
    task_id: str,
    name: str,
    agent_id: str,
    resources: Iterable[JSON],
    command: str | Sequence[str],
    environment: Mapping[str, str] | None = None,
    user: str | None = None,
    uris: Sequence[str] = (),  # fetched into the sandbox: archives unpacked, other files made executable
    labels: Mapping[str, str] | None = None,
    kill_grace_seconds: float | None = None,
    container: Container | None = None,
) -> JSON:
    """Return the v1 TaskInfo of a command task.

    `command` is a text for /bin/sh, or a list: the program and its arguments, run without a shell. `resources` are
    pieces of the offer, as `resources.take` cuts them. UsageError where Mesos could not run it.
    """
    info: JSON = {
        "name": name,
        "task_id": {"value": checked_task_id(task_id)},
        "agent_id": {"value": agent_id},
        "resources": list(resources),
        "command": _command_info(command, environment or {}, user, uris),
    }
    if kill_grace_seconds is not None:
        info["kill_policy"] = {"grace_period": {"nanoseconds": round(kill_grace_seconds * 1e9)}}
    if container is not None:
        info["container"] = container_info(container)
    if labels:
        info["labels"] = labels_of(labels)
    return info


def launch_operation(task_infos: Iterable[JSON]) -> JSON:
    """Return the operation that stands in an ACCEPT; all its tasks run on the one agent of the accepted offers."""
    return {"type": "LAUNCH", "launch": {"task_infos": list(task_infos)}}


def checked_task_id(task_id: str) -> str:
    """Return `task_id`, or raise UsageError where the master would refuse the task."""
    if (
        not task_id
        or task_id in (".", "..")
        or len(task_id.encode()) > MAX_TASK_ID
        or _FORBIDDEN_IN_ID.search(task_id)
    ):
        raise UsageError(
            f"{task_id[:60]!r} is not a task id: it must have 1 to {MAX_TASK_ID} bytes, none of them a slash or a"
            " control character"
        )
    return task_id


def labels_of(labels: Mapping[str, str]) -> JSON:
    """Return a Labels message."""
    return {"labels": [{"key": key, "value": value} for key, value in labels.items()]}


def container_info(container: Container) -> JSON:
    """Return the ContainerInfo; UsageError where the containerizer has no such thing."""
    info: JSON = {"type": container.containerizer.upper()}
    volumes = [
        {
            "mode": "RO" if v.is_read_only else "RW",
            "container_path": v.container_path,
            "host_path": v.host_path,
        }
        for v in container.volumes
    ]
    if container.containerizer == DOCKER:
        info["docker"] = _docker_info(container)
    elif container.containerizer == MESOS:
        if container.image is not None:
            # `cached: false` pulls an image that the agent already has (mesos.proto, message Image).
            image: JSON = {
                "type": "DOCKER",
                "docker": {"name": container.image},
                "cached": not container.force_pull,
            }
            info["mesos"] = {"image": image}
        for device in container.devices:
            volumes.append({"mode": "RW", "container_path": device, "host_path": device})
        if container.shm_size_mb is not None:
            # A size of its own needs an IPC namespace of its own (isolators/namespaces-ipc.md).
            info["linux_info"] = {"ipc_mode": "PRIVATE", "shm_size": container.shm_size_mb}
        if container.rlimits:
            info["rlimit_info"] = {"rlimits": [_rlimit(each) for each in container.rlimits]}
    else:
        raise UsageError(f"there is no containerizer {container.containerizer!r}: it is {MESOS} or {DOCKER}")
    if volumes:
        info["volumes"] = volumes
    return info


def _docker_info(container: Container) -> JSON:
    if container.image is None:
        raise UsageError(
            "the Docker containerizer needs an image: give --image, or use --containerizer mesos"
        )
    parameters = [{"key": "device", "value": device} for device in container.devices]
    if container.shm_size_mb is not None:
        parameters.append({"key": "shm-size", "value": f"{container.shm_size_mb}m"})
    for limit in container.rlimits:
        # docker run --ulimit: -1 is unlimited.
        soft, hard = (-1, -1) if limit.soft is None else (limit.soft, limit.hard)
        parameters.append({"key": "ulimit", "value": f"{limit.name.lower()}={soft}:{hard}"})
    docker: JSON = {"image": container.image, "network": "HOST", "force_pull_image": container.force_pull}
    if parameters:
        docker["parameters"] = parameters
    return docker


def _rlimit(limit: RLimit) -> JSON:
    rlimit: JSON = {"type": f"RLMT_{limit.name}"}
    if limit.soft is not None:
        rlimit.update(soft=limit.soft, hard=limit.hard)
    return rlimit


def _command_info(
    command: str | Sequence[str], environment: Mapping[str, str], user: str | None, uris: Sequence[str]
) -> JSON:
    info: JSON
    if isinstance(command, str):
        info = {"shell": True, "value": command}
    else:
        info = {"shell": False, "value": command[0], "arguments": list(command)}
    if environment:
        info["environment"] = {
            "variables": [{"name": key, "value": value} for key, value in environment.items()]
        }
    _check_size(info, environment)
    if user is not None:
        info["user"] = user
    if uris:
        info["uris"] = [_uri(each) for each in uris]
    return info


def _uri(uri: str) -> JSON:
    is_archive = uri.partition("?")[0].lower().endswith(_ARCHIVES)
    return {"value": uri, "executable": not is_archive, "extract": is_archive}


def _check_size(command: JSON, environment: Mapping[str, str]) -> None:
    for key, value in environment.items():
        if not key or "=" in key or "\0" in key + value or not _is_unicode(key + value):
            raise UsageError(
                f"Mesos cannot carry the environment variable {key!r}: name and value must be UTF-8 text"
            )
    for text in command.get("arguments", [command["value"]]):
        if "\0" in text or not _is_unicode(text):
            raise UsageError(
                "Mesos cannot carry the task's command: it must be UTF-8 text without NUL characters"
            )
    variables = [{"name": key, "type": "VALUE", "value": value} for key, value in environment.items()]
    environment_size = 2 * _json_size(variables) if variables else 0
    text_size = _json_size(command.get("arguments", command["value"]))
    if environment_size + text_size > MAX_COMMAND_BYTES:
        largest = max(environment, key=lambda key: len(environment[key]), default="")
        hint = f"; the largest variable is {largest}" if environment_size > text_size else ""
        raise UsageError(
            f"the task's command ({text_size} bytes) and environment ({environment_size // 2} bytes, counted twice)"
            f" are more than the {MAX_COMMAND_BYTES} bytes that a Mesos agent can start{hint}"
        )


def _is_unicode(text: str) -> bool:
    """False for text from os.environ or argv that was not UTF-8: JSON cannot hold it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _json_size(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
