"""`python -m tests.chaos [--seed N] [--runs N] [--jobs N] [--master MASTER]`: many small jobs under random faults.

The seed is printed; run K of seed N comes back alone by `--seed N --run K`. Several at once are processes of their own,
since each must see what it leaves.
"""

from __future__ import annotations

import argparse
import re
import secrets
import subprocess
import sys
import threading

from tests.chaos.runs import play
from tests.faults.job import VICTIMS, adopt_orphans

FAULT = re.compile(rf"\b(?:KILL|TERM|INT|STOP) (?:{'|'.join(VICTIMS)})\b")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=3, help="so many at once")
    parser.add_argument("--master", default="local:2")
    parser.add_argument("--run", type=int, help="play this one only")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run is not None:
        return play_all(options.seed, [options.run], options.master)
    if options.part is not None:
        return play_all(
            options.seed, list(range(int(options.part), options.runs, options.jobs)), options.master
        )
    print(f"seed {options.seed}, {options.runs} runs on {options.master}", flush=True)
    line = [sys.executable, "-m", "tests.chaos", "--seed", str(options.seed), "--runs", str(options.runs)]
    line += ["--jobs", str(options.jobs), "--master", options.master, "--part"]
    parts = [
        subprocess.Popen([*line, str(part)], stdout=subprocess.PIPE, text=True)
        for part in range(options.jobs)
    ]
    lines: list[str] = []
    threads = [threading.Thread(target=_follow, args=(part, lines)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = {word: sum(word in each for each in lines) for word in ("FAILED", "hangs", "left behind")}
    faults = sum(len(FAULT.findall(each)) for each in lines if each.startswith("run "))
    runs = sum(each.startswith("run ") for each in lines)
    print(
        f"seed {options.seed}: {runs} runs, {faults} faults, {counts['left behind']} leftovers, "
        f"{counts['hangs']} hangs, {counts['FAILED']} failed"
    )
    return 1 if counts["FAILED"] or runs != options.runs else 0


def _follow(part: subprocess.Popen[str], lines: list[str]) -> None:
    """Print what a part says as it says it, and keep it."""
    assert part.stdout is not None
    with part:
        for line in part.stdout:
            lines.append(line)
            print(line, end="", flush=True)


def play_all(seed: int, numbers: list[int], master: str) -> int:
    """Play those runs one after the other, a line each."""
    adopt_orphans()
    failed = 0
    for number in numbers:
        try:
            told = play(seed, number, master)
        except AssertionError as error:
            told = f"FAILED {error!s}".replace("\n", " / ")
            failed += 1
        print(f"run {number}: {told}", flush=True)
    return 1 if failed else 0


raise SystemExit(main())
