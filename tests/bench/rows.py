"""The rows of the table, by the name that `--only` takes. Imported by the benchmarks only."""

from __future__ import annotations

from collections.abc import Callable

from tests.bench.allocation import gang, master
from tests.bench.commands import latency, one_command, start_up, throughput
from tests.bench.figures import Result
from tests.bench.idling import idle
from tests.bench.jobs import first_rank, sixteen_hosts, sixty_four_hosts
from tests.bench.scale import broker

ROWS: dict[str, tuple[str, Callable[[bool], Result]]] = {
    "command": ("one remote command", one_command),
    "start": ("the shim's start-up", start_up),
    "jobs16": ("a job over 16 hosts", sixteen_hosts),
    "jobs64": ("a job over 64 hosts", sixty_four_hosts),
    "launch": ("from command to first rank", first_rank),
    "throughput": ("throughput", throughput),
    "latency": ("latency", latency),
    "broker": ("the broker with thousands of proxies", broker),
    "gang": ("the gang allocator", gang),
    "master": ("the local master's offer cycle", master),
    "idle": ("an idle session", idle),
}
