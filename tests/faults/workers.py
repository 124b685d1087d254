"""Many jobs under fault, several at once: each worker is a process of its own, since it must see what its jobs leave.

Used by `python -m tests.faults` and `python -m tests.chaos`, which start themselves again with `--worker`. A worker has
one local cluster, shared by all its jobs that do no harm to it.

    this process --the number of a job, a line--> worker (its stdin)
    this process <--how it went, a line---------- worker (its stdout)
"""

from __future__ import annotations

import contextlib
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator

from tests.faults.job import Site, adopt_orphans
from tests.masters.local_master import local_cluster
from tests.support import keep_settings_away

FAILED = "FAILED"


def play_all(line: list[str], numbers: Iterable[int], jobs: int) -> Iterator[str]:
    """Have `jobs` workers, started as `line`, play all numbers; yield each line they say, as it comes."""
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    said: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    for number in numbers:
        waiting.put(number)

    def follow() -> None:
        worker = subprocess.Popen(
            [sys.executable, *line, "--worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert worker.stdin is not None
        assert worker.stdout is not None
        try:
            with worker, contextlib.suppress(queue.Empty):
                while True:
                    number = waiting.get_nowait()
                    try:
                        worker.stdin.write(f"{number}\n")
                        worker.stdin.flush()
                        answer = worker.stdout.readline()
                    except OSError:
                        answer = ""
                    said.put(answer.rstrip("\n") or f"{number}: {FAILED} its worker ended")
                    if not answer:
                        break
        finally:
            said.put(None)

    threads = [threading.Thread(target=follow) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for _ in threads:
        while (told := said.get()) is not None:
            yield told
    for thread in threads:
        thread.join()


def play_failed_again(line: list[str], lines: Iterable[str]) -> list[str]:
    """Play what has failed once more, one by one; print and return how it went."""
    numbers = [int(told.partition(":")[0]) for told in lines if FAILED in told]
    again = []
    for told in play_all(line, numbers, min(1, len(numbers))):
        again.append(told)
        print(f"once more, alone: {told}", flush=True)
    return again


def work(play: Callable[[int, Site], str], master: str | None) -> None:
    """Be a worker: play each number of stdin, at `master` or a local cluster of the worker's own; say how it went."""
    adopt_orphans()
    keep_settings_away()
    with contextlib.ExitStack() as stack:
        if master is not None:
            site = Site(master, is_shared=True, is_near=False)
        else:
            site = Site(stack.enter_context(local_cluster(0, "--agents", "2")).address)
        for line in sys.stdin:
            try:
                told = play(int(line), site)
            except (AssertionError, OSError) as error:
                told = f"{FAILED} {error}"
            sys.stdout.write(f"{int(line)}: {told}".replace("\n", " / ") + "\n")
            sys.stdout.flush()
