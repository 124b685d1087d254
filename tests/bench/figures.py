"""What a benchmark gives: figures with their median and range, verdicts against a target, as JSON and as a short table.

Imported by the benchmarks only. Runs that are compared are made alternately, so that what else the machine does meets
both; the ratio of two is the median of the ratios of its pairs.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figure:
    """Measured values of one thing, in one unit."""

    name: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
            "runs": len(self.values),
        }

    def __str__(self) -> str:
        if len(self.values) == 1:
            return f"{_three(self.median)} {self.unit}"
        low, high = _three(min(self.values)), _three(max(self.values))
        return f"{_three(self.median)} ({low} to {high}) {self.unit}"


@dataclass(frozen=True)
class Verdict:
    """A value held against its target: at most `target`, or with `at_least` no less."""

    what: str
    value: float
    target: float
    unit: str = ""
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        return self.value >= self.target if self.at_least else self.value <= self.target

    def as_json(self) -> dict[str, Any]:
        sign = ">=" if self.at_least else "<="
        return {
            "what": self.what,
            "value": self.value,
            "target": f"{sign} {self.target:g}",
            "met": self.is_met,
        }

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        unit = f" {self.unit}" if self.unit else ""
        met = "met" if self.is_met else "NOT met"
        return f"{self.what}: {_three(self.value)}{unit} (target {sign} {self.target:g}{unit}): {met}"


@dataclass
class Result:
    """One row of the table."""

    figures: list[Figure] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: str | None = None

    def add(self, name: str, unit: str, *values: float) -> Figure:
        """Note a figure and return it."""
        figure = Figure(name, unit, tuple(values))
        self.figures.append(figure)
        return figure

    def expect(
        self, what: str, value: float, target: float, unit: str = "", *, at_least: bool = False
    ) -> None:
        """Hold a value against its target."""
        self.verdicts.append(Verdict(what, value, target, unit, at_least))

    def as_json(self, name: str, title: str) -> dict[str, Any]:
        return {
            "row": name,
            "title": title,
            "skipped": self.skipped,
            "figures": [each.as_json() for each in self.figures],
            "verdicts": [each.as_json() for each in self.verdicts],
            "notes": self.notes,
        }

    def lines(self) -> Iterator[str]:
        """The row's part of the table."""
        if self.skipped is not None:
            yield f"  skipped: {self.skipped}"
        width = max((len(each.name) for each in self.figures), default=0)
        for figure in self.figures:
            yield f"  {figure.name:<{width}}  {figure}"
        for verdict in self.verdicts:
            yield f"  -> {verdict}"
        for note in self.notes:
            yield f"  {note}"


def alternate(cases: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[Any]]:
    """Run each case once a round, in an order that turns with the rounds; return what they gave, by case."""
    given: dict[str, list[Any]] = {name: [] for name in cases}
    names = list(cases)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            given[name].append(cases[name]())
    return given


def ratio(ours: Sequence[float], others: Sequence[float]) -> float:
    """The median of the pairs' ratios."""
    return statistics.median(mine / other for mine, other in zip(ours, others, strict=True))


def _three(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
