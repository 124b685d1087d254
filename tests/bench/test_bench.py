"""The benchmarks work: each row measures what it says. How fast anything is, no test asserts."""

import json
import subprocess
import sys
from pathlib import Path

from tests.bench.figures import Figure, Result, Verdict, alternate, ratio
from tests.bench.rows import ROWS
from tests.support import scaled
from tests.support.tools import ROOT


def test_every_row_measures_in_its_small_form(tmp_path: Path) -> None:
    """What has rotted is not found out on the day that it is needed."""
    file = tmp_path / "figures.json"
    # Its small form is the same as that of 16 hosts.
    rows = [name for name in ROWS if name != "jobs64"]
    line = [sys.executable, "-m", "tests.bench", "--small", "--json", str(file)]
    done = subprocess.run(
        [*line, *(word for name in rows for word in ("--only", name))],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=scaled(240),
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(file.read_text())["rows"]
    assert [row["row"] for row in told] == rows
    for row in told:
        assert row["skipped"] or row["figures"], row
        assert all(figure["min"] <= figure["median"] <= figure["max"] for figure in row["figures"])
        assert row["row"] in done.stdout


def test_pairs_are_compared_and_turn() -> None:
    """A slow moment of the machine meets each case now and again, and never only one of them."""
    order: list[str] = []
    given = alternate({name: lambda name=name: order.append(name) for name in "abc"}, 3)
    assert order == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]
    assert [len(values) for values in given.values()] == [3, 3, 3]
    assert ratio([1.0, 9.0, 2.0], [2.0, 9.0, 4.0]) == 0.5


def test_a_verdict_says_whether_the_target_was_met() -> None:
    """In words and in JSON alike, whichever way is better."""
    assert str(Verdict("wall", 0.0712, 0.1)) == "wall: 0.0712 (target ≤ 0.1): met"
    assert (
        str(Verdict("rate", 512.4, 5000, "/s", at_least=True)) == "rate: 512 /s (target ≥ 5000 /s): NOT met"
    )
    assert str(Figure("wall", "ms", (3.0, 1.0, 2.0))) == "2 (1 to 3) ms"
    result = Result()
    result.expect("rate", 2.0, 1.0, at_least=True)
    assert result.as_json("row", "title")["verdicts"] == [
        {"what": "rate", "value": 2.0, "target": ">= 1", "met": True}
    ]
