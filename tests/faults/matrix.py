"""The fault matrix: cells read from the table in the documents, and how one is played.

The table is `roujiamo/docs/faults.md`: what it promises is what is tested. A cell is a list of exit statuses, `n` for
any of a failure; `-` where the part does not exist in that phase.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import roujiamo
from tests.faults.job import OFFERS, PHASES, VICTIMS, job

PAGE = Path(roujiamo.__file__).parent / "docs" / "faults.md"
FAULTS = ("KILL", "TERM", "INT", "STOP")
FAILURE = "n"
# Nobody is left to say it, or Open MPI does not.
SILENT = (("wrapper", "KILL"), ("mpiexec", "TERM"), ("mpiexec", "INT"))


class Cell(NamedTuple):
    """One promise: this fault to that part in that phase ends with one of `statuses`."""

    victim: str
    phase: str
    fault: str
    statuses: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.victim}, {self.phase}, {self.fault}"


@functools.cache
def cells() -> tuple[Cell, ...]:
    """Every cell of the table that has a promise, in the table's order."""
    found = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        columns = [column.strip() for column in line.strip("|").split("|")]
        if len(columns) == 2 + len(FAULTS) and columns[0] in VICTIMS and columns[1] in PHASES:
            for fault, promise in zip(FAULTS, columns[2:], strict=True):
                if promise != "-":
                    found.append(
                        Cell(columns[0], columns[1], fault, tuple(promise.replace(",", " ").split()))
                    )
    return tuple(found)


def play(cell: Cell) -> str:
    """Do it; return the status, or "absent" where the part had ended before it could be hit.

    Raises AssertionError where the run hangs, leaves something, says nothing useful or ends with another status.
    """
    waits = cell.phase == OFFERS
    with job(nodes=3 if waits else 2, timeout_seconds=4 if waits else 25) as victim:
        victim.reach(cell.phase)
        was_there = victim.inflict(cell.victim, cell.fault)
        status = victim.finish()
        victim.assert_nothing_left()
        out, err = victim.said("out"), victim.said("err")
    if not was_there:
        return "absent"
    assert "Traceback" not in err, err
    promised = str(status) in cell.statuses or (FAILURE in cell.statuses and status != 0)
    assert promised, f"status {status}, promised {', '.join(cell.statuses)}; stderr: {err}"
    if status == 0:
        assert out.count("done") == 2, f"status 0 without both ranks' ends: {out}; {err}"
    elif (cell.victim, cell.fault) not in SILENT:
        assert err.strip(), f"status {status} and not a word"
    return str(status)
