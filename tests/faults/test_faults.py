"""A sample of the fault matrix, another one for each seed; the whole: `python -m tests.faults`.

`ROUJIAMO_TEST_SEED` chooses the sample. Only with ROUJIAMO_TEST_FAULTS=1: `.ci/run` plays a larger one by itself.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from tests.faults.job import PHASES, Site
from tests.faults.matrix import FAULTS, SILENT, Cell, cells, play
from tests.faults.parts import CLUSTER, VICTIMS
from tests.masters.local_master import local_cluster
from tests.support import on_demand, requires_open_mpi

# Each costs some seconds.
SAMPLE = 6
SEED = os.environ.get("ROUJIAMO_TEST_SEED", "1")


@pytest.fixture(scope="module")
def shared() -> Iterator[Site]:
    """A cluster that outlives the jobs."""
    with local_cluster(0, "--agents", "2") as cluster:
        yield Site(cluster.address)


def sample() -> list[Cell]:
    """One cell for each of some parts."""
    chance = random.Random(SEED)
    victims = chance.sample(VICTIMS, SAMPLE)
    return [chance.choice([cell for cell in cells() if cell.victim == victim]) for victim in victims]


@on_demand
@requires_open_mpi
@pytest.mark.parametrize("cell", sample(), ids=lambda cell: cell.name)
def test_a_hurt_job_ends_as_the_documents_say(cell: Cell, shared: Site) -> None:
    """With the promised status and a sentence, in time, and nothing of it is left."""
    play(cell, shared)


def test_the_table_has_each_part_in_each_phase_under_each_fault_once() -> None:
    """A row that is missing or there twice would promise nothing, or two things."""
    rows = [(cell.victim, cell.phase, cell.fault) for cell in cells()]
    assert len(rows) == len(set(rows))
    there = {(cell.victim, cell.phase) for cell in cells()}
    assert {cell.fault for cell in cells()} == set(FAULTS)
    assert len(rows) == len(there) * len(FAULTS)
    # These live from the beginning to the end; the others come and go with mpiexec, or with its ranks.
    whole = {(victim, phase) for victim in ("wrapper", "broker", "driver", *CLUSTER) for phase in PHASES}
    assert whole <= there
    assert {victim for victim, _ in there} == set(VICTIMS)


def test_each_cell_promises_a_status_a_time_and_for_a_failure_a_sentence() -> None:
    """An empty cell is kept by any run."""
    for cell in cells():
        assert cell.statuses, cell.name
        assert 0 < cell.seconds <= 60, cell.name
        is_silent = (cell.victim, cell.fault) in SILENT
        assert cell.statuses == ("0",) or cell.words or is_silent, cell.name
