"""What a session's tasks have written, read from their sandboxes.

Layer 2; used by the programs that show it or keep it. The master tells where its agents listen, an agent where a task's
sandbox is, and its /files API gives the bytes (Mesos documentation, "HTTP Endpoints", /files/read). Every request is
bounded in time and size.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from roujiamo.errors import MasterError, RoujiamoError

ANSWER_SECONDS = 10.0
MAX_ANSWER = 256 << 20
CHUNK = 64 << 10
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


def find_logs(
    status: dict[str, Any], hosts: Sequence[str], streams: Sequence[str], complain: Callable[[str], None]
) -> Iterator[Log]:
    """Return the logs of a session's hosts (of all where none is named), given what its broker says of it.

    `complain` is told of a host whose sandbox is not known any more. Raises RoujiamoError.
    """
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
            complain(f"{host['name']}: the master does not know its agent any more")
            continue
        directory = _sandbox(
            _get(f"http://{agent[2]}/{agent[0]}/state"), status["framework_id"], host["task_id"]
        )
        if directory is None:
            complain(f"{host['name']}: the agent does not know its task any more")
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
