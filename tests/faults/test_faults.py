"""A sample of the fault matrix, another one for each seed; the whole: `python -m tests.faults`.

`ROUJIAMO_TEST_SEED` chooses the sample. Only with ROUJIAMO_TEST_FAULTS=1: it takes minutes, and needs a machine that
has nothing else to do.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.faults.job import VICTIMS
from tests.faults.matrix import Cell, cells, play
from tests.support import on_demand, requires_open_mpi

# Each costs some seconds.
SAMPLE = 6
SEED = os.environ.get("ROUJIAMO_TEST_SEED", "1")


def sample() -> list[Cell]:
    """One cell for each of some parts."""
    chance = random.Random(SEED)
    victims = chance.sample(VICTIMS, SAMPLE)
    return [chance.choice([cell for cell in cells() if cell.victim == victim]) for victim in victims]


@on_demand
@requires_open_mpi
@pytest.mark.parametrize("cell", sample(), ids=lambda cell: cell.name)
def test_a_hurt_job_ends_as_the_documents_say(cell: Cell) -> None:
    """With the promised status and a sentence, in time, and nothing of it is left."""
    play(cell)


def test_the_table_names_each_part_in_each_phase_once() -> None:
    """A row that is missing or there twice would promise nothing, or two things."""
    rows = [(cell.victim, cell.phase, cell.fault) for cell in cells()]
    assert len(rows) == len(set(rows))
    assert {victim for victim, _, _ in rows} == set(VICTIMS)
    assert len(rows) >= 160
