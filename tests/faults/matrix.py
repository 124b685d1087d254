"""The fault matrix: cells read from the table in the documents, and how one is played.

The table is `roujiamo/docs/faults.md`: what it promises is what is tested. A cell is a list of exit statuses, `n` for
any of a failure; a row has a time in seconds, and words of which one stands in each failure's sentence.
"""

from __future__ import annotations

import functools
import re
import time
from pathlib import Path
from typing import NamedTuple

import roujiamo
from tests.faults.job import OWN, PHASES, Site, job
from tests.faults.parts import CLUSTER, VICTIMS
from tests.support import scaled

PAGE = Path(roujiamo.__file__).parent / "docs" / "faults.md"
FAULTS = ("KILL", "TERM", "INT", "STOP")
FAILURE = "n"
ABSENT = "absent"
# Nobody is left to say it, or Open MPI does not.
SILENT = (("wrapper", "KILL"), ("mpiexec", "TERM"), ("mpiexec", "INT"))


class Cell(NamedTuple):
    """One promise: this fault to that part in that phase ends with one of `statuses`."""

    victim: str
    phase: str
    fault: str
    statuses: tuple[str, ...]
    # From the fault to the end, and the words of which one stands on stderr with every status but 0.
    seconds: float
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.victim}, {self.phase}, {self.fault}"


@functools.cache
def cells() -> tuple[Cell, ...]:
    """Every cell of the table that has a promise, in the table's order."""
    found = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        columns = [column.strip() for column in line.strip("|").split("|")]
        if len(columns) == 4 + len(FAULTS) and columns[0] in VICTIMS and columns[1] in PHASES:
            victim, phase, *promises, within, words = columns
            seconds = float(within.removesuffix(" s"))
            quoted = tuple(re.findall("`([^`]+)`", words))
            found += [
                Cell(victim, phase, fault, tuple(re.findall(r"\w+", promise)), seconds, quoted)
                for fault, promise in zip(FAULTS, promises, strict=True)
            ]
    return tuple(found)


def play(cell: Cell, shared: Site) -> str:
    """Do it; return the status, seconds and stderr, or "absent" where the part had ended before it could be hit.

    Raises AssertionError where the run hangs, leaves something, says nothing useful or ends with another status.
    """
    with job(OWN if cell.victim in CLUSTER else shared, cell.phase) as victim:
        is_in_time = victim.reach(cell.phase)
        begun = time.monotonic()
        was_there = victim.inflict(cell.victim, cell.fault) and is_in_time
        status = victim.finish()
        seconds = time.monotonic() - begun
        victim.assert_nothing_left()
        out, err = victim.said("out"), victim.said("err")
    if not was_there:
        return ABSENT
    assert "Traceback" not in err, err
    assert seconds < scaled(cell.seconds), f"ended after {seconds:.1f} s, promised in {cell.seconds:g}; {err}"
    promised = str(status) in cell.statuses or (FAILURE in cell.statuses and status != 0)
    assert promised, f"status {status}, promised {', '.join(cell.statuses)}; stderr: {err}"
    if status == 0:
        assert out.count("done") == 2, f"status 0 without both ranks' ends: {out}; {err}"
    elif (cell.victim, cell.fault) not in SILENT:
        assert any(words in err for words in cell.words), (
            f"status {status} without {cell.words}; stderr: {err}"
        )
    return f"{status} after {seconds:.1f} s: {err}"
