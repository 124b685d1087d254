"""`python -m tests.fuzz [--seed N] [--seconds S] [TARGET...]`: every target for a time, from a seed that is printed.

A case is named by seed and number, and comes back alone by `--seed N --case NUMBER TARGET`.
"""

from __future__ import annotations

import argparse
import secrets
import time
import traceback

from tests.fuzz.targets import TARGETS, play


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all by default"
    )
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--seconds", type=float, default=60, help="for each target")
    parser.add_argument("--case", type=int, help="play this one only")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    failures = 0
    for name in options.targets or TARGETS:
        number, found, deadline = options.case or 0, 0, time.monotonic() + options.seconds
        while time.monotonic() < deadline and found < 5:
            try:
                play(name, options.seed, number)
            except Exception:  # noqa: BLE001 - any exception at all is what is looked for
                found += 1
                print(f"{name}: --seed {options.seed} --case {number}\n{traceback.format_exc()}", flush=True)
            number += 1
            if options.case is not None:
                break
        print(f"{name}: {number - (options.case or 0)} cases, {found} failures", flush=True)
        failures += found
    return 1 if failures else 0


raise SystemExit(main())
