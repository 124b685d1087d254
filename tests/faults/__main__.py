"""`python -m tests.faults [--jobs N] [--sample N --seed S]`: the fault matrix, one line a cell, and its counts.

Without --sample it is the whole of it. Cells are named by their number in the table, from 1 on: `--cell K` plays one.
"""

from __future__ import annotations

import argparse
import random
import time

from tests.faults.job import Site
from tests.faults.matrix import ABSENT, cells, play
from tests.faults.workers import FAILED, play_all, play_failed_again, work

TRIES = 4
# One cell of so many may go without its victim.
MOST_ABSENT = 4


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="so many at once")
    parser.add_argument("--part", default="1/1", help="play every N-th cell, from the K-th on")
    parser.add_argument("--cell", type=int, action="append", help="play this one; again for more")
    parser.add_argument("--sample", type=int, metavar="N", help="play N cells, drawn by --seed")
    parser.add_argument("--seed", default="1")
    parser.add_argument(
        "--again", action="store_true", help="what fails is played once more, and has to hold then"
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(play_number, None)
        return 0
    first, _, step = options.part.partition("/")
    numbers = options.cell or list(range(int(first), len(cells()) + 1, int(step)))
    if options.sample is not None:
        # The last rows take longest.
        numbers = sorted(random.Random(options.seed).sample(numbers, options.sample), reverse=True)
        print(f"seed {options.seed}, {len(numbers)} of {len(cells())} cells", flush=True)
    begun = time.monotonic()
    lines = []
    for told in play_all(["-m", "tests.faults"], numbers, options.jobs):
        lines.append(told)
        print(told, flush=True)
    failed = sum(FAILED in line for line in lines)
    absent = sum(line.endswith(ABSENT) for line in lines)
    print(
        f"{len(lines)} of {len(cells())} cells in {time.monotonic() - begun:.0f} s: "
        f"{absent} without their victim, {failed} failed"
    )
    if options.again:
        failed = sum(FAILED in told for told in play_failed_again(["-m", "tests.faults"], lines))
    # A part that is seldom found is one that is no longer known by its name.
    return 1 if failed or absent * MOST_ABSENT > len(lines) or len(lines) != len(numbers) else 0


def play_number(number: int, site: Site) -> str:
    """Play the cell of that number; again where its part had ended a moment before it was hit."""
    cell = cells()[number - 1]
    try:
        for _ in range(TRIES):
            told = play(cell, site)
            if told != ABSENT:
                break
        return f"{cell.name}: {told}"
    except AssertionError as error:
        raise AssertionError(f"{cell.name}: {error}") from None


if __name__ == "__main__":
    raise SystemExit(main())
