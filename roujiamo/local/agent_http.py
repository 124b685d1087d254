"""An agent's HTTP endpoints: its state, and the files of its sandboxes.

Part of an agent process. Whoever can reach the port, and has a credential where it asks for one, may read the sandboxes
and nothing else: a path is looked at after it was opened, so no symbolic link and no `..` leads out of a sandbox.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roujiamo.mesos.master import authentication, views
from roujiamo.mesos.master.http_messages import (
    Request,
    Response,
    json_response,
    method_not_allowed,
    not_found,
    plain,
)
from roujiamo.mesos.master.quantities import Quantities, from_json
from roujiamo.mesos.master.state import Task

if TYPE_CHECKING:
    from roujiamo.local.http_server import HttpConnection
    from roujiamo.local.runs import Run

# What one /files/read gives at most: 16 pages, as in Mesos (src/files/files.cpp).
MAX_READ = 16 * 4096
PIECE = 256 << 10

# What a command executor takes for itself, beside its task.
EXECUTOR = from_json(
    [
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}},
        {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}},
    ]
)


@dataclass(frozen=True)
class Description:
    """What there is to show of an agent now."""

    agent_id: str
    hostname: str
    pid: str
    started_at: float
    total: Quantities
    attributes: list[dict[str, Any]]
    work_dir: Path
    running: list[Run]
    completed: list[Run]

    @property
    def runs(self) -> list[Run]:
        return [*self.running, *self.completed]


class AgentService:
    """Answers the requests to one agent; `credentials` are of those who may read, None for everybody."""

    def __init__(self, describe: Callable[[], Description], credentials: dict[str, str] | None) -> None:
        self._describe = describe
        self._credentials = credentials

    def answer(self, request: Request) -> Response:
        path = request.path.removeprefix("/slave(1)")
        if path != "/":
            path = path.rstrip("/")
        if path.startswith("/api/v1"):
            return method_not_allowed(request.method, "POST") if request.method != "POST" else not_found()
        if path == "/version":
            return json_response(views.BUILD, request.query)
        if path == "/health":
            return Response(200)
        if self._credentials is not None:
            refusal = authentication.refusal(request, self._credentials, authentication.AGENT_READ)
            if refusal is not None:
                return refusal
        if path == "/state":
            return json_response(_state(self._describe()), request.query)
        if path == "/files/debug":
            roots = {virtual: str(real) for virtual, real in _roots(self._describe()).items()}
            return json_response(dict(sorted(roots.items())), request.query)
        if path in ("/files/browse", "/files/read", "/files/download"):
            if "path" not in request.query:
                return plain(400, "Expecting 'path=value' in query.\n")
            return _file(self._describe(), path.rpartition("/")[2], request.query)
        return not_found()

    def on_answered(self, connection: HttpConnection, response: Response) -> None:
        """Nothing follows an agent's response."""

    def on_stream_closed(self, stream_id: str) -> None:
        """An agent has no streams."""


def _state(agent: Description) -> dict[str, Any]:
    frameworks: dict[str, dict[str, Any]] = {}
    for run in agent.runs:
        entry = frameworks.setdefault(run.framework["id"], _framework(run.framework))
        entry["completed_executors" if run.is_over else "executors"].append(_executor(run))
    used = Quantities()
    for run in agent.running:
        used = used + from_json(run.info["resources"]) + EXECUTOR
    is_active = {run.framework["id"] for run in agent.running}
    build = {key: views.BUILD[key] for key in ("version", "git_sha", "git_tag", "build_date", "build_time")}
    return {
        **build,
        "build_user": views.BUILD["build_user"],
        "start_time": agent.started_at,
        "id": agent.agent_id,
        "pid": agent.pid,
        "hostname": agent.hostname,
        "capabilities": views.AGENT_CAPABILITIES,
        **views.agent_resources(agent.total),
        "reserved_resources_full": {},
        "unreserved_resources_full": agent.total.as_json(),
        "reserved_resources_allocated": {},
        "unreserved_resources_allocated": used.summary(),
        "resource_providers": [],
        "attributes": views.attributes_as_json(agent.attributes),
        "master_hostname": "localhost",
        "flags": {
            "hostname": agent.hostname,
            "switch_user": "true" if os.geteuid() == 0 else "false",
            "work_dir": str(agent.work_dir),
        },
        "frameworks": [entry for framework_id, entry in frameworks.items() if framework_id in is_active],
        "completed_frameworks": [entry for key, entry in frameworks.items() if key not in is_active],
    }


def _framework(framework: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": framework["id"],
        "name": framework["name"],
        "user": framework["user"],
        "failover_timeout": float(framework["failover_timeout"]),
        "checkpoint": framework["checkpoint"],
        "hostname": "",
        "role": framework["role"],
        "executors": [],
        "completed_executors": [],
    }


def _executor(run: Run) -> dict[str, Any]:
    command = run.info.get("command", {})
    text = f"sh -c '{command.get('value', '')}'" if command.get("shell", True) else command.get("value", "")
    shown = text if len(text) <= 18 else f"{text[:18]}...{chr(39) if command.get('shell', True) else ''}"
    task = Task(
        id=run.task_id,
        name=run.info["name"],
        framework_id=run.framework["id"],
        agent_id=run.place.agent_id,
        role=run.framework["role"],
        resources=from_json(run.info["resources"]),
        labels=run.info.get("labels", {}).get("labels", []),
        state=run.state,
        statuses=run.statuses,
    )
    resources = EXECUTOR if run.is_over else EXECUTOR + task.resources
    entry: dict[str, Any] = {
        "id": run.task_id,
        "name": f"Command Executor (Task: {run.task_id}) (Command: {shown})",
        "source": run.task_id,
        "container": run.place.container_id,
        "directory": str(run.place.directory),
        "resources": resources.summary(),
        "role": run.framework["role"],
    }
    if task.labels:
        entry["labels"] = task.labels
    tasks = [views.task_as_json(task)]
    return {
        **entry,
        "tasks": [] if run.is_over else tasks,
        "queued_tasks": [],
        "completed_tasks": tasks if run.is_over else [],
    }


def _roots(agent: Description) -> dict[str, Path]:
    """The paths under which sandboxes are offered, and where they are."""
    roots: dict[str, Path] = {}
    for run in agent.runs:
        directory, place = run.place.directory, run.place
        virtual = f"/frameworks/{place.framework_id}/executors/{place.executor_id}/runs/latest"
        # Of several runs of an executor the running one is listed first and stays.
        roots.setdefault(virtual, directory)
        roots.setdefault(str(place.runs / "latest"), directory)
        roots[str(directory)] = directory
    return roots


def _file(agent: Description, what: str, query: dict[str, str]) -> Response:
    asked = os.path.normpath(query["path"])
    missing = not_found() if what == "download" else plain(404, "")
    roots = _roots(agent)
    root = next((one for one in _with_parents(asked) if one in roots), None)
    if root is None or "\0" in asked:
        return missing
    real_root = roots[root]
    path = real_root / asked[len(root) :].lstrip("/")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return missing
    is_kept = False
    try:
        opened = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        mode = os.fstat(descriptor).st_mode
        if opened != real_root.resolve() and real_root.resolve() not in opened.parents:
            return missing
        if what == "browse":
            return _browse(descriptor, query["path"].rstrip("/"), query) if stat.S_ISDIR(mode) else missing
        if stat.S_ISDIR(mode):
            return plain(400, f"Cannot {what} a directory.\n")
        if not stat.S_ISREG(mode):
            return missing
        if what == "read":
            return _read(descriptor, query)
        is_kept = True
        return _download(descriptor, path.name)
    finally:
        if not is_kept:
            os.close(descriptor)


def _with_parents(path: str) -> Iterator[str]:
    yield path
    yield from (str(parent) for parent in Path(path).parents)


def _browse(descriptor: int, shown: str, query: dict[str, str]) -> Response:
    entries = []
    for name in sorted(os.listdir(descriptor)):
        try:
            found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except FileNotFoundError:
            continue
        entries.append(
            {
                "gid": _name(lambda gid: grp.getgrgid(gid).gr_name, found.st_gid),
                "mode": stat.filemode(found.st_mode),
                "mtime": float(int(found.st_mtime)),
                "nlink": found.st_nlink,
                "path": f"{shown}/{name}",
                "size": found.st_size,
                "uid": _name(lambda uid: pwd.getpwuid(uid).pw_name, found.st_uid),
            }
        )
    return json_response(entries, query)


def _name(find: Callable[[int], str], number: int) -> str:
    try:
        return find(number)
    except KeyError:
        return str(number)


def _read(descriptor: int, query: dict[str, str]) -> Response:
    numbers = {}
    for name in ("offset", "length"):
        text = query.get(name, "-1")
        try:
            numbers[name] = int(text)
        except ValueError:
            return plain(400, f"Failed to parse {name}: Failed to convert '{text[:100]}' to number.\n")
    size = os.fstat(descriptor).st_size
    offset, length = numbers["offset"], numbers["length"]
    if offset < 0:
        return json_response({"data": "", "offset": size}, query)
    if offset >= size:
        return json_response({"data": "", "offset": offset}, query)
    wanted = min(MAX_READ, size - offset, length if length >= 0 else MAX_READ)
    data = os.pread(descriptor, wanted, offset)
    return json_response({"data": data.decode("utf-8", "replace"), "offset": offset}, query)


def _download(descriptor: int, name: str) -> Response:
    size = os.fstat(descriptor).st_size

    def pieces() -> Iterator[bytes]:
        left = size
        try:
            while left:
                data = os.read(descriptor, min(PIECE, left))
                if not data:
                    # The file was cut meanwhile; the length is promised.
                    data = b"\0" * min(PIECE, left)
                left -= len(data)
                yield data
        finally:
            os.close(descriptor)

    safe = "".join(character for character in name if character.isprintable() and character not in '";\\')
    headers = {
        "Content-Disposition": f"attachment; filename={safe}",
        "Content-Type": "application/octet-stream",
        "Content-Length": str(size),
    }
    if not size:
        os.close(descriptor)
        return Response(200, headers)
    return Response(200, headers, parts=pieces())
