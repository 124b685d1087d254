"""What a job under fault has left: processes, sockets, files, and what its master still holds for it.

Imported by the harness. "Nothing" is meant literally, after the sweep of the session folders that the next start does.
"""

from __future__ import annotations

import contextlib
import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from roujiamo.mesos.task_states import TERMINAL_STATES
from roujiamo.system.runtime_folder import sweep
from tests.faults.parts import Parts
from tests.support import is_alive, scaled


def left_processes(parts: Parts) -> list[str]:
    """Descendants of this process, whatever they carry; and every process of the machine that carries the mark."""
    left = {pid for pid in parts.descendants() if not reap(pid)}
    # Looking at every process of the machine costs; while some are known to be left it is not needed.
    for process in psutil.process_iter() if not left else ():
        # Another user's, or one that ends while it is looked at.
        with contextlib.suppress(psutil.Error, OSError):
            environment = "\0".join(f"{name}={value}" for name, value in process.environ().items())
            if parts.carries_mark(environment.encode(errors="surrogateescape")) and is_alive(process.pid):
                left.add(process.pid)
    return [f"process {pid} ({_command_line(pid)})" for pid in sorted(left)]


def left_files(folder: Path, temporary: Path) -> list[str]:
    """Files in the `temporary` folder, and sockets with an address in `folder`."""
    for session_folder in temporary.glob("roujiamo-*"):
        sweep(session_folder)
        with contextlib.suppress(OSError):
            session_folder.rmdir()
    # Not by a glob, which fails where a folder goes while it is walked.
    left = [
        f"file {os.path.relpath(os.path.join(where, name), folder)}"
        for where, folders, files in os.walk(temporary)
        for name in (*folders, *files)
    ]
    left += [
        f"socket {line.split()[-1]}"
        for line in Path("/proc/net/unix").read_text().splitlines()
        if str(folder) in line
    ]
    return left


def left_on_master(address: str, name: str, *, is_alone: bool) -> list[str]:
    """What the master still has of the framework of that name: itself, its tasks, its offers.

    `is_alone`: nobody else uses that cluster, so nothing of its agents may be in use or on offer.
    """
    state = _ask(address, "frameworks")
    left = []
    for framework in state["frameworks"]:
        if framework["name"] == name:
            left.append(f"framework {framework['id']} (active: {framework['active']})")
    for framework in [*state["frameworks"], *state["completed_frameworks"]]:
        if framework["name"] == name:
            left += [f"offer {offer['id']}" for offer in framework["offers"]]
            for kind in ("tasks", "unreachable_tasks", "completed_tasks"):
                tasks = framework[kind]
                left += [
                    f"task {each['id']} in {each['state']}"
                    for each in tasks
                    if each["state"] not in TERMINAL_STATES
                ]
    if is_alone:
        for agent in _ask(address, "slaves")["slaves"]:
            held = {**_numbers(agent["used_resources"]), **_numbers(agent["offered_resources"])}
            left += [f"{value:g} {what} of {agent['hostname']}" for what, value in held.items() if value]
    return left


def _numbers(resources: dict[str, Any]) -> dict[str, float]:
    return {what: value for what, value in resources.items() if isinstance(value, float | int) and value}


def _ask(address: str, what: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://{address}/{what}", timeout=scaled(10)) as answer:
        state: dict[str, Any] = json.load(answer)
    return state


def reap(pid: int) -> bool:
    """Whether a process is gone; an orphan of ours that has ended is reaped."""
    if is_alive(pid):
        return False
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return True


def all_left(parts: Parts, folder: Path, address: str | None, name: str, *, is_alone: bool) -> Iterator[str]:
    """Everything that is left of the job, of each kind."""
    yield from left_processes(parts)
    yield from left_files(folder, folder / "tmp")
    if address is not None:
        yield from left_on_master(address, name, is_alone=is_alone)


def _command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200]
    return "ended"
