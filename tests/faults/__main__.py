"""`python -m tests.faults [--part K/N]`: the whole fault matrix, one line a cell, and its counts at the end."""

from __future__ import annotations

import argparse

from tests.faults.job import adopt_orphans
from tests.faults.matrix import cells, play


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--part", default="1/1", help="play every N-th cell, from the K-th on")
    first, _, step = parser.parse_args().part.partition("/")
    adopt_orphans()
    failed = played = absent = 0
    for cell in cells()[int(first) - 1 :: int(step)]:
        try:
            outcome = play(cell)
        except AssertionError as error:
            outcome = f"FAILED {error}"
            failed += 1
        played += 1
        absent += outcome == "absent"
        print(f"{cell.victim} | {cell.phase} | {cell.fault} | {outcome}", flush=True)
    print(f"{played} cells, {absent} without their victim, {failed} failed")
    return 1 if failed else 0


raise SystemExit(main())
