"""The proxy under each Python: the one of this run, and a real 3.6 where there is one."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.proxy.broker import Bench
from tests.support import python36


@pytest.fixture(
    params=[
        "current",
        pytest.param("3.6", marks=pytest.mark.skipif(python36() is None, reason="no Python 3.6 here")),
    ]
)
def python(request: pytest.FixtureRequest) -> str:
    """The interpreter that the agent has."""
    return os.path.realpath(sys.executable) if request.param == "current" else str(python36())


@pytest.fixture
def make_bench(tmp_path: Path, python: str) -> Iterator[Callable[..., Bench]]:
    """Makes benches (settings=, environment=, task_environment=), and ends them."""
    made: list[Bench] = []

    def make(**more: object) -> Bench:
        folder = tmp_path / f"host{len(made)}"
        folder.mkdir()
        made.append(functools.partial(Bench, folder, python)(**more))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def host(make_bench: Callable[..., Bench]) -> Bench:
    """A host that is ready."""
    return make_bench().ready()
