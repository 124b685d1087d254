"""`python -m tests.chaos [--seed N] [--runs N] [--jobs N] [--master HOST:PORT]`: many small jobs under random faults.

The seed is printed; run K of seed N comes back alone by `--seed N --run K`, on the same kind of master. Without
--master the runs are on local clusters.
"""

from __future__ import annotations

import argparse
import functools
import re
import secrets
import time

from tests.chaos.runs import play
from tests.faults.parts import VICTIMS
from tests.faults.workers import FAILED, play_all, play_failed_again, work

FAULT = re.compile(rf"\b(?:KILL|TERM|INT|STOP) (?:{'|'.join(VICTIMS)})\b")
# A line says which rule was broken by these words (see `tests.faults.job`).
HANGS, LEFT = "hangs: ", "left behind: "


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=6, help="so many at once")
    parser.add_argument("--master", help="a real cluster's, on this machine")
    parser.add_argument("--run", type=int, action="append", help="play this one only; again for more")
    parser.add_argument(
        "--again", action="store_true", help="what fails is played once more, and has to hold then"
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(functools.partial(play, options.seed), options.master)
        return 0
    where = options.master or "local clusters"
    numbers = options.run or range(options.runs)
    print(f"seed {options.seed}, {len(numbers)} runs on {where}", flush=True)
    line = ["-m", "tests.chaos", "--seed", str(options.seed)]
    if options.master is not None:
        line += ["--master", options.master]
    begun = time.monotonic()
    lines = []
    for told in play_all(line, numbers, min(options.jobs, len(numbers))):
        lines.append(told)
        print(f"run {told}", flush=True)
    hangs, left, failed = (sum(word in each for each in lines) for word in (HANGS, LEFT, FAILED))
    faults = sum(len(FAULT.findall(each)) for each in lines)
    print(
        f"seed {options.seed}: {len(lines)} runs on {where} in {time.monotonic() - begun:.0f} s, {faults} faults, "
        f"{left} leftovers, {hangs} hangs, {failed} failed"
    )
    if options.again:
        failed = sum(FAILED in told for told in play_failed_again(line, lines))
    # Runs without any fault show nothing, unless it is one alone that was asked for.
    return 1 if failed or len(lines) != len(numbers) or (faults == 0 and not options.run) else 0


if __name__ == "__main__":
    raise SystemExit(main())
