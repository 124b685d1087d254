"""`roujiamo status` and `roujiamo cancel`.

Run in the user's shell. They ask the brokers of the user's sessions on this machine, by the sockets in the sessions'
folders; other users' and other machines' sessions are the Mesos master's to show.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from roujiamo.errors import RoujiamoError, SessionGone, UsageError
from roujiamo.status.usage import usage_of
from roujiamo.system.sessions import ask, end, session_paths

NO_SESSION = "you have no session on this machine"
# As Open MPI writes it: NAME=VALUE ; export NAME ; …
_SETTINGS = re.compile(r"^(?:(?:\w+=[^\s;]*|export \w+) ?; ?)+")
# So that a line of ours fits 80 columns.
_SHOWN_CHARACTERS = 68
HEADINGS = ("SESSION", "NAME", "STATE", "HOSTS", "SLOTS", "FOR", "MASTER")


def choose(wanted: Sequence[str]) -> list[tuple[Path, dict[str, Any]]]:
    """Return the sessions, with their brokers' status, whose id (or its beginning) or name is `wanted`; else all.

    Raises RoujiamoError for one that is not there.
    """
    known = list(_statuses())
    if not wanted:
        return known
    chosen: list[tuple[Path, dict[str, Any]]] = []
    for name in wanted:
        found = [each for each in known if name in (each[1]["session"], each[1]["name"])] or [
            each for each in known if each[1]["session"].startswith(name)
        ]
        if not found:
            there = ", ".join(f"{status['session']} ({status['name']})" for _, status in known)
            raise RoujiamoError(
                f"there is no session {name}; " + (f"there are {there}" if there else NO_SESSION)
            )
        chosen += [each for each in found if each not in chosen]
    return chosen


def _statuses() -> Iterable[tuple[Path, dict[str, Any]]]:
    for path in session_paths():
        try:
            yield path, ask(path, {"request": "status"})
        except SessionGone:
            continue
        except RoujiamoError as error:
            nothing: dict[str, Any] = {
                "name": "?",
                "since": None,
                "master": "",
                "framework_id": "",
                "hosts": [],
            }
            yield path, {"session": path.name, "state": "silent", "waiting_for": str(error), **nothing}


def status(wanted: Sequence[str], *, as_json: bool) -> int:
    """Print the sessions; return the exit status. Raises RoujiamoError."""
    sessions = [each for _, each in choose(wanted)]
    for session in sessions:
        for host in session["hosts"]:
            used = usage_of(host)
            host["usage"] = asdict(used) if used is not None else None
    if as_json:
        print(json.dumps(sessions, indent=2))
    elif sessions:
        print("\n".join(_table(sessions, time.time())))
    else:
        print(NO_SESSION, file=sys.stderr)
    return 0


def _table(sessions: Sequence[dict[str, Any]], now: float) -> list[str]:
    rows = [HEADINGS]
    for session in sessions:
        live = [host for host in session["hosts"] if host["state"] != "lost"]
        slots = sum(host["slots"] for host in live)
        age = duration(now - session["since"]) if session["since"] else "?"
        rows.append(
            (
                session["session"],
                session["name"],
                session["state"],
                str(len(live)),
                str(slots),
                age,
                session["master"],
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = [_aligned(rows[0], widths)]
    for row, session in zip(rows[1:], sessions, strict=True):
        lines.append(_aligned(row, widths))
        if session.get("until"):
            lines.append(f"  {duration(session['until'] - now)} left of its time limit")
        if session["waiting_for"]:
            lines.append(f"  {session['waiting_for']}")
        lines += [f"  {line}" for host in session["hosts"] for line in _host_lines(host, now)]
    return lines


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _host_lines(host: dict[str, Any], now: float) -> list[str]:
    line = f"{host['name']}: {host['state']}, {host['slots']} slot{'s' if host['slots'] != 1 else ''}"
    if host["usage"] is not None:
        used = host["usage"]
        line += f", {used['processes']} processes, {used['mem']:.0f} MB, {used['cpu_seconds']:.1f} s of cpu"
    if host["loss"]:
        line += f" ({host['loss']})"
    shown = [f"  {duration(now - each['since'])}  {_shown(each['command'])}" for each in host["commands"]]
    return [line, *shown]


def _shown(command: str) -> str:
    """Return a remote command's program and first arguments; launchers put what they set before it."""
    return _SETTINGS.sub("", " ".join(command.split()))[:_SHOWN_CHARACTERS]


def duration(seconds: float) -> str:
    """Return `42 s`, `3:05 min` or `2:05 h`."""
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02} h"


def cancel(wanted: Sequence[str], *, everything: bool) -> int:
    """End the sessions; return the exit status. Raises RoujiamoError, UsageError where none is named."""
    if not wanted and not everything:
        raise UsageError(
            "which session? name its id or its name, or give --all; `roujiamo status` shows them"
        )
    if wanted and everything:
        raise UsageError("--all and a name: give one of them")
    sessions = choose(wanted)
    if not sessions:
        print(NO_SESSION, file=sys.stderr)
    failures = []
    for path, _ in sessions:
        try:
            end(path)
        except RoujiamoError as error:
            failures.append(str(error))
    if failures:
        raise RoujiamoError("; ".join(failures))
    return 0
