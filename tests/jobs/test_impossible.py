"""Requests that no wait can meet are told at once, from the master's own list of agents, by each master there is."""

from __future__ import annotations

import pytest

from tests.jobs.conftest import Bench


@pytest.mark.parametrize(
    ("request_options", "sentence"),
    [
        (["-N", "1", "-c", "640"], "no agent has 640 cpus; the largest has 4 cpus"),
        (["-N", "9"], "agents; 9 are needed"),
    ],
)
def test_an_impossible_request_says_what_is_missing(
    bench: Bench, master: str, request_options: list[str], sentence: str
) -> None:
    """It is waited for all the same, as agents may come: until the time is up."""
    agents = "local:3" if master == "local" else master
    result = bench.ompirun(*request_options, "--timeout", "6", agents, "true")
    assert result.status == 124
    assert sentence in result.err
