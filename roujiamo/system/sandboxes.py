"""What a session's tasks have written, read from their sandboxes.

Layer 2; used by the programs that show it or keep it. The master tells where its agents listen, an agent where a task's
sandbox is, and its /files API gives the bytes (Mesos documentation, "HTTP Endpoints", /files/read). Every request is
bounded in time and size. Who asks for a principal is shown the session's own, which its broker tells; nobody else is,
no proxy of the environment either.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roujiamo.errors import MasterError, RoujiamoError
from roujiamo.system.sessions import ask

ANSWER_SECONDS = 10.0
MAX_ANSWER = 256 << 20
CHUNK = 64 << 10
STREAMS = ("stdout", "stderr")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect, without what was meant for the server that redirects."""

    def redirect_request(self, req: urllib.request.Request, *rest: Any) -> urllib.request.Request | None:
        """Return the request to where the answer points."""
        request = super().redirect_request(req, *rest)
        if request is not None and request.host != req.host:
            request.remove_header("Authorization")
        return request


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Redirects)


class Reader:
    """Reads JSON from masters and agents; `credential` is what the session's broker tells of itself."""

    def __init__(self, credential: dict[str, Any]) -> None:
        self._authorization = ""
        principal, secret = credential.get("principal"), credential.get("secret")
        if principal is not None and secret is not None:
            pair = f"{principal}:{secret}".encode()
            self._authorization = "Basic " + base64.b64encode(pair).decode("ascii")
        self._asking: set[str] = set()  # the host:port of those who have asked for it

    def get(self, url: str) -> dict[str, Any]:
        """Raises MasterError."""
        where = urllib.parse.urlsplit(url)
        try:
            value = self._read(url, where.netloc)
        except urllib.error.HTTPError as error:
            with error:
                hint = "; the session has no principal and secret to show" if error.code == 401 else ""
                if error.code == 401 and self._authorization:
                    hint = "; the session's principal and secret are not enough there"
                raise MasterError(
                    f"http://{where.netloc}{where.path} answers {error.code} {error.reason}{hint}"
                ) from error
        except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise MasterError(f"http://{where.netloc}{where.path} cannot be read: {reason}") from error
        if not isinstance(value, dict):
            raise MasterError(f"http://{where.netloc}{where.path} answers no JSON object")
        return value

    def _read(self, url: str, server: str) -> Any:
        request = urllib.request.Request(url)
        if server in self._asking:
            request.add_header("Authorization", self._authorization)
        try:
            with _OPENER.open(request, timeout=ANSWER_SECONDS) as answer:
                return json.loads(answer.read(MAX_ANSWER).decode("utf-8", "surrogateescape"))
        except urllib.error.HTTPError as error:
            if error.code != 401 or server in self._asking or not self._authorization:
                raise
            error.close()
            self._asking.add(server)
            return self._read(url, server)


@dataclass
class Log:
    """One file of a sandbox; `agent` is its host:port, `offset` where the next byte to read is."""

    host: str
    stream: str
    agent: str
    path: str
    reader: Reader
    offset: int = 0

    def read(self) -> bytes:
        """Return what has come since. Raises RoujiamoError."""
        data = b""
        while True:
            query = urllib.parse.urlencode({"path": self.path, "offset": self.offset, "length": CHUNK})
            answer = self.reader.get(f"http://{self.agent}/files/read?{query}")
            chunk = str(answer.get("data", "")).encode("utf-8", "surrogateescape")
            data += chunk
            self.offset += len(chunk)
            if len(chunk) < CHUNK // 2:
                return data


@dataclass(frozen=True)
class Sandbox:
    """Where one host's task writes; `agent` is its host:port, `process` the agent's name there, `slave(1)`."""

    host: str
    agent: str
    process: str
    framework_id: str
    task_id: str
    reader: Reader

    def logs(self, streams: Sequence[str]) -> list[Log]:
        """Ask the agent where it is; return its logs. Raises RoujiamoError."""
        with _understood(url := f"http://{self.agent}/{self.process}/state"):
            directory = _directory(self.reader.get(url), self.framework_id, self.task_id)
        if directory is None:
            raise MasterError("the agent does not know its task any more")
        return [Log(self.host, each, self.agent, f"{directory}/{each}", self.reader) for each in streams]


def find_sandboxes(
    session: Path, status: dict[str, Any], hosts: Sequence[str], complain: Callable[[str], None]
) -> list[Sandbox]:
    """Return the sandboxes of a session's hosts (of all where none is named), given its folder and its `status`.

    `complain` is told of a host whose agent is not known any more. Raises RoujiamoError.
    """
    known = [host for host in status["hosts"] if not hosts or {host["name"], host["alias"]} & set(hosts)]
    missing = set(hosts) - {name for host in known for name in (host["name"], host["alias"])}
    if missing:
        there = ", ".join(host["name"] for host in status["hosts"]) or "none yet"
        raise RoujiamoError(f"the session has no host {', '.join(sorted(missing))}; its hosts are {there}")
    if not status["master"]:
        raise MasterError("the session has found no master yet, so there are no logs")
    reader = Reader(ask(session, {"request": "credential"}))
    # An agent's pid is `slave(1)@ADDRESS:PORT`; its files are served beside it.
    with _understood(f"http://{status['master']}/slaves"):
        agents = {
            agent["id"]: str(agent["pid"]).rpartition("@")
            for agent in reader.get(f"http://{status['master']}/slaves")["slaves"]
        }
    found = []
    for host in known:
        agent = agents.get(host["agent_id"])
        if agent is None:
            complain(f"{host['name']}: the master does not know its agent any more")
            continue
        found.append(
            Sandbox(host["name"], agent[2], agent[0], status["framework_id"], host["task_id"], reader)
        )
    return found


def find_logs(
    session: Path,
    status: dict[str, Any],
    hosts: Sequence[str],
    streams: Sequence[str],
    complain: Callable[[str], None],
) -> list[Log]:
    """Return the logs in these sandboxes; `complain` is told of each host that has none. Raises RoujiamoError."""
    logs = []
    for sandbox in find_sandboxes(session, status, hosts, complain):
        try:
            logs += sandbox.logs(streams)
        except RoujiamoError as error:
            complain(f"{sandbox.host}: {error}")
    return logs


@contextlib.contextmanager
def _understood(url: str) -> Iterator[None]:
    """Raise MasterError where an answer is JSON, and not what Mesos would answer."""
    try:
        yield
    except (LookupError, TypeError, AttributeError) as error:
        raise MasterError(f"{url} does not answer as Mesos does: {error!r}") from error


def _directory(state: dict[str, Any], framework_id: str, task_id: str) -> str | None:
    """A command task's executor has the task's id (Mesos: CommandInfo without ExecutorInfo)."""
    for framework in [*state.get("frameworks", ()), *state.get("completed_frameworks", ())]:
        if framework["id"] == framework_id:
            for executor in [*framework.get("executors", ()), *framework.get("completed_executors", ())]:
                if executor["id"] == task_id:
                    return str(executor["directory"])
    return None
