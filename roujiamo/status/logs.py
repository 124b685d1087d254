"""`roujiamo logs`: what the proxies of a session's hosts have written, read from the tasks' sandboxes.

Runs in the user's shell. The master tells where its agents listen, an agent where a task's sandbox is, and its /files
API gives the bytes (Mesos documentation, "HTTP Endpoints", /files/read). Every request is bounded in time and size.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from roujiamo.errors import MasterError, RoujiamoError, UsageError
from roujiamo.status.program import NO_SESSION, choose
from roujiamo.system.sessions import session_paths

ANSWER_SECONDS = 10.0
MAX_ANSWER = 256 << 20
CHUNK = 64 << 10
FOLLOW_SECONDS = 0.5
STREAMS = ("stdout", "stderr")


@dataclass
class Log:
    """One file of a sandbox; `agent` is its host:port, `offset` where the next byte to read is."""

    host: str
    stream: str
    agent: str
    path: str
    offset: int = 0

    def read(self) -> bytes:
        """Return what has come since. Raises RoujiamoError."""
        data = b""
        while True:
            query = urllib.parse.urlencode({"path": self.path, "offset": self.offset, "length": CHUNK})
            answer = _get(f"http://{self.agent}/files/read?{query}")
            chunk = str(answer.get("data", "")).encode("utf-8", "surrogateescape")
            data += chunk
            self.offset += len(chunk)
            if len(chunk) < CHUNK // 2:
                return data


def logs(
    session: str | None, *, hosts: Sequence[str], streams: Sequence[str], lines: int | None, follow: bool
) -> int:
    """Print the logs of one session; with `follow` until it ends. Return the exit status. Raises RoujiamoError."""
    path, status = _only(session)
    files = list(_files(status, hosts, streams))
    is_many = len(files) > 1
    for file in files:
        there = file.read().decode("utf-8", "replace").splitlines()
        for text in there if lines is None else there[-lines:] if lines else []:
            _print(file, text, with_name=is_many)
    partial = dict.fromkeys(range(len(files)), b"")
    while follow and path in session_paths():
        time.sleep(FOLLOW_SECONDS)
        for number, file in enumerate(files):
            try:
                data = partial[number] + file.read()
            except RoujiamoError:
                # The sandbox goes with the local cluster, the agent may be away for a moment.
                continue
            *whole, partial[number] = data.split(b"\n")
            for line in whole:
                _print(file, line.decode("utf-8", "replace"), with_name=is_many)
    return 0


def _print(file: Log, line: str, *, with_name: bool) -> None:
    print(f"{file.host} {file.stream}: {line}" if with_name else line, flush=True)


def _only(session: str | None) -> tuple[Any, dict[str, Any]]:
    found = choose([session] if session else [])
    if not found:
        raise RoujiamoError(
            f"{NO_SESSION}; a session's logs are read while it runs (its sandboxes are Mesos's after that)"
        )
    if len(found) > 1:
        names = ", ".join(f"{status['session']} ({status['name']})" for _, status in found)
        raise UsageError(f"which session? there are {names}")
    return found[0]


def _files(status: dict[str, Any], hosts: Sequence[str], streams: Sequence[str]) -> Iterator[Log]:
    """Find the sandboxes. Raises RoujiamoError."""
    known = [host for host in status["hosts"] if not hosts or {host["name"], host["alias"]} & set(hosts)]
    missing = set(hosts) - {name for host in known for name in (host["name"], host["alias"])}
    if missing:
        there = ", ".join(host["name"] for host in status["hosts"]) or "none yet"
        raise RoujiamoError(f"the session has no host {', '.join(sorted(missing))}; its hosts are {there}")
    if not status["master"]:
        raise MasterError("the session has found no master yet, so there are no logs")
    # An agent's pid is `slave(1)@ADDRESS:PORT`; its files are served beside it.
    agents = {
        agent["id"]: str(agent["pid"]).rpartition("@")
        for agent in _get(f"http://{status['master']}/slaves")["slaves"]
    }
    for host in known:
        agent = agents.get(host["agent_id"])
        if agent is None:
            print(f"{host['name']}: the master does not know its agent any more", file=sys.stderr)
            continue
        directory = _sandbox(
            _get(f"http://{agent[2]}/{agent[0]}/state"), status["framework_id"], host["task_id"]
        )
        if directory is None:
            print(f"{host['name']}: the agent does not know its task any more", file=sys.stderr)
            continue
        for stream in streams:
            yield Log(host["name"], stream, agent[2], f"{directory}/{stream}")


def _sandbox(state: dict[str, Any], framework_id: str, task_id: str) -> str | None:
    """A command task's executor has the task's id (Mesos: CommandInfo without ExecutorInfo)."""
    for framework in [*state.get("frameworks", ()), *state.get("completed_frameworks", ())]:
        if framework["id"] == framework_id:
            for executor in [*framework.get("executors", ()), *framework.get("completed_executors", ())]:
                if executor["id"] == task_id:
                    return str(executor["directory"])
    return None


def _get(url: str) -> dict[str, Any]:
    """Raises MasterError."""
    where = urllib.parse.urlsplit(url)
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:
            value = json.loads(answer.read(MAX_ANSWER).decode("utf-8", "surrogateescape"))
    except urllib.error.HTTPError as error:
        with error:
            raise MasterError(
                f"http://{where.netloc}{where.path} answers {error.code} {error.reason}"
            ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise MasterError(f"http://{where.netloc}{where.path} cannot be read: {reason}") from error
    if not isinstance(value, dict):
        raise MasterError(f"http://{where.netloc}{where.path} answers no JSON object")
    return value
