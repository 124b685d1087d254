"""A broker's session without a Mesos: real but for the driver, which hears its calls and does nothing about them.

A process of its own in the benchmarks: `python -m tests.bench.broker_process HOSTS`. It takes the offers of so many
agents, launches a task on each, and listens; one JSON line says where, with the tasks' tokens. After that each line on
stdin is answered with one: what it has used so far, and how many hosts are ready. The end of stdin is its end.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from roujiamo.broker.hosts import READY
from roujiamo.broker.loop import run
from roujiamo.broker.program import raise_descriptor_limit
from roujiamo.broker.session import Session
from roujiamo.session.request import SessionRequest
from roujiamo.system.programs import collect_rarely
from roujiamo.system.runtime_folder import SessionFolder
from tests.bench.costs import memory_of
from tests.bench.offers import offer


class NoDriver:
    """Takes calls, and makes nothing of them but the JSON that would go to the driver."""

    def call(self, call: str, **arguments: Any) -> None:
        json.dumps({"call": call, **arguments}).encode()


async def serve(hosts: int, folder: Path) -> None:
    """Launch, listen, answer."""
    request = SessionRequest(master="127.0.0.1:5050", nodes=hosts, name="bench", folder=str(folder))
    session = Session(request, SessionFolder(folder), json.dumps)
    gathering = session._gathering
    gathering._driver = NoDriver()  # type: ignore[assignment]
    session._proxies.prepare()
    session._shims.listen(session._folder.socket)
    await session._proxies.listen("127.0.0.1:5050")
    offers = [offer(number) for number in range(hosts)]
    gc.collect()
    memory = memory_of(os.getpid())
    begun = time.process_time()
    gathering._apply(gathering._allocator.on_offers(offers, asyncio.get_running_loop().time()))
    launching = time.process_time() - begun
    del offers
    started = {
        "port": int(session._proxies.targets[0].rpartition(":")[2]),
        "socket": str(session._folder.socket),
        "launching": launching,
        "hosts": [[host.name, host.token.hex()] for host in session.hosts.values() if host.token],
    }
    print(json.dumps(started), flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        if line.strip() == b"collect":
            gc.collect()
        ready = sum(host.state == READY for host in session.hosts.values())
        answer = {
            "cpu": time.process_time(),
            "memory": memory_of(os.getpid()) - memory,
            "ready": ready,
            "is_ready": session._is_ready,
        }
        print(json.dumps(answer), flush=True)


def main() -> None:
    """Serve until stdin ends."""
    raise_descriptor_limit()
    collect_rarely()
    with tempfile.TemporaryDirectory(prefix="rj-broker-") as folder:
        run(serve(int(sys.argv[1]), Path(folder) / "session"))


if __name__ == "__main__":
    main()
