"""The benchmarks: `python -m tests.bench [--only NAME] [--small] [--json FILE]`.

Each row of the table is measured by itself, ours and what it is compared with alternately, and told with the median,
the least and the most. No test asserts a time; `--small` only shows that it all works.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from pathlib import Path

from tests.bench.rows import ROWS


def main() -> int:
    """Measure; return 0, whatever was measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure how fast it is.")
    parser.add_argument("--only", action="append", choices=list(ROWS), metavar="NAME", help=", ".join(ROWS))
    parser.add_argument("--small", action="store_true", help="as little of each as shows that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    options = parser.parse_args()
    # What was started for a row is ended with it, also where it is this that is ended.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    told = []
    for name in options.only or ROWS:
        title, measure = ROWS[name]
        print(f"{name}: {title}", flush=True)
        begun = time.monotonic()
        result = measure(options.small)
        for line in result.lines():
            print(line, flush=True)
        print(f"  ({time.monotonic() - begun:.0f} s)", flush=True)
        told.append(result.as_json(name, title))
    if options.json is not None:
        machine = {"cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}
        document = {"machine": machine, "small": options.small, "rows": told}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
