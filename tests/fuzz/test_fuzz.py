"""A sample of the fuzz cases, the same in each run: no input raises anything but its documented error.

The whole, for as long as one likes: `python -m tests.fuzz --seconds 600`.
"""

import pytest

from tests.fuzz.targets import TARGETS, play

SEED = 20200
CASES = 1500
# A case is twenty calls to a master.
FEWER = {"master": 60}


@pytest.mark.parametrize("target", TARGETS)
def test_changed_inputs_are_taken_or_refused(target: str) -> None:
    """Whole and in pieces alike, with bounded memory; a failure names the command that plays it alone."""
    for number in range(FEWER.get(target, CASES)):
        try:
            play(target, SEED, number)
        except Exception as error:  # noqa: BLE001 - any at all is what is looked for
            pytest.fail(f"python -m tests.fuzz --seed {SEED} --case {number} {target}: {error!r}")
