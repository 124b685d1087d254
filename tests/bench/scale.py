"""A broker with thousands of proxies: how fast they get in, what each costs, and a command on each.

Imported by the benchmarks only. Two processes: the broker's session, and all the proxies and shims.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

from tests.bench.figures import Result
from tests.support.tools import ROOT

TIMES_LINEAR = 1.5


def broker(small: bool) -> Result:
    """All call back, prove who they are and stay; then one command on each."""
    result = Result()
    sizes = (20, 60) if small else (1000, 3000, 10_000)
    medians: dict[int, dict[str, float]] = {}
    for hosts in sizes:
        runs = [_run(hosts) for _ in range(1 if small else 3)]
        medians[hosts] = {
            name: result.add(f"{hosts} hosts: {name}", unit, *(run[name] for run in runs)).median
            for name, unit in _UNITS.items()
        }
    last = medians[sizes[-1]]
    result.expect("call-backs", last["call-backs"], 5000, "/s", at_least=True)
    result.expect("memory each", last["memory each"], 12, "KiB")
    result.expect("commands on all", last["commands on all"], 10, "s")
    for name in ("launching, CPU each", "call-back, CPU each", "command, CPU each"):
        growth = last[name] / medians[sizes[0]][name]
        result.expect(f"{name}, of what it is at {sizes[0]}", growth, TIMES_LINEAR)
    return result


_UNITS = {
    "launching, CPU each": "µs",
    "call-backs": "/s",
    "call-back, CPU each": "µs",
    "memory each": "KiB",
    "commands on all": "s",
    "command, CPU each": "µs",
}


def _run(hosts: int) -> dict[str, float]:
    with ExitStack() as stack:
        session = _start(stack, "tests.bench.broker_process", str(hosts))
        started = json.loads(_read(session))
        proxies = _start(stack, "tests.bench.simulated_proxies", str(started["port"]), started["socket"])
        _tell(proxies, json.dumps(started["hosts"]))
        assert _read(proxies) == "prepared"
        before = _ask(session)
        _tell(proxies, "call back")
        calling = float(_read(proxies).split()[1])
        inside = _ask(session)
        while inside["ready"] < hosts:
            inside = _ask(session)
        assert inside["is_ready"]
        settled = _ask(session, "collect")
        _tell(proxies, "run commands")
        running = float(_read(proxies).split()[1])
        after = _ask(session)
    return {
        "launching, CPU each": started["launching"] / hosts * 1e6,
        "call-backs": hosts / calling,
        "call-back, CPU each": (inside["cpu"] - before["cpu"]) / hosts * 1e6,
        "memory each": settled["memory"] / hosts / 1024,
        "commands on all": running,
        "command, CPU each": (after["cpu"] - settled["cpu"]) / hosts * 1e6,
    }


def _start(stack: ExitStack, module: str, *arguments: str) -> subprocess.Popen[str]:
    process = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
    )
    assert process.stdin is not None
    stack.callback(process.stdin.close)
    return process


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _read(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line, f"{process.args!r} ended"
    return line


def _ask(process: subprocess.Popen[str], question: str = "how much") -> dict[str, Any]:
    _tell(process, question)
    answer: dict[str, Any] = json.loads(_read(process))
    return answer
