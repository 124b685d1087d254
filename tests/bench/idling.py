"""An idle session: how often its processes wake up, and what they use, while nobody asks anything of them.

Imported by the benchmarks only.
"""

from __future__ import annotations

import subprocess
import time

from tests.bench.costs import cpu_of, name_of, wake_ups
from tests.bench.figures import Result
from tests.bench.places import SHIM, Held, ground, held
from tests.support import children_of


def idle(small: bool) -> Result:
    """Wake-ups of each process, and the broker's CPU."""
    result = Result()
    hosts, seconds = (1, 1.0) if small else (4, 60.0)
    with ground(hosts) as place, held(place, hosts) as session:
        watched = _processes(session)
        before = {pid: (wake_ups(pid), cpu_of(pid)) for pid in watched}
        begun = time.monotonic()
        # Nothing is waited for: it is the passing of time that is measured.
        time.sleep(seconds)
        elapsed = time.monotonic() - begun
        after = {pid: (wake_ups(pid), cpu_of(pid)) for pid in watched}
    rates: dict[str, list[float]] = {}
    for pid, name in watched.items():
        rates.setdefault(name, []).append((after[pid][0] - before[pid][0]) / elapsed)
    for name, values in rates.items():
        result.add(f"{name}: wake-ups", "/s", *values)
    share = (after[session.broker][1] - before[session.broker][1]) / elapsed * 100
    result.add("broker: CPU", "%", share)
    for name, values in rates.items():
        result.expect(f"{name}: most wake-ups", max(values), 0.2, "/s")
    result.expect("broker: CPU", share, 0.2, "%")
    return result


def _processes(session: Held) -> dict[int, str]:
    """The session's processes, by pid: the owner, the broker, the driver, and each proxy's two."""
    found = {session.owner: "alloc", session.broker: "broker"}
    for pid in children_of(session.broker):
        found[pid] = "driver" if name_of(pid) == "roujiamo.driver" else name_of(pid)
    for host in session.hosts:
        answer = subprocess.run(
            [SHIM, host, "echo $PPID $(cut -d' ' -f4 /proc/$PPID/stat)"],
            env=session.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        worker, init = map(int, answer.stdout.split())
        found[worker], found[init] = "proxy's worker", "proxy's init"
    return found
