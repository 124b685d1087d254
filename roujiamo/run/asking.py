"""Asking the hosts of a session something, all at once: a shell command on each, and what it prints.

Runs in the programs of the user's shell. The answers come from the hosts, and are read no further than a bound.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable, Mapping
from typing import Any

from roujiamo.dialects import AGENT
from roujiamo.run.launcher import shim_folder
from roujiamo.session.host_look import MAX_ANSWER


def ask(
    hosts: Iterable[Mapping[str, Any]], socket: str, command: str, seconds: float
) -> dict[str, str | None]:
    """Return each host's answer by its alias (two may have one name), None of one that has none after `seconds`.

    `hosts`: as the broker's `ready` event tells them. `socket`: the session's. Raises LauncherError.
    """
    shim = os.path.join(shim_folder(), AGENT)
    environment = {**os.environ, "ROUJIAMO_SOCKET": socket}
    asked = {
        str(host["alias"]): subprocess.Popen(
            [shim, "-n", str(host["alias"]), command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        for host in hosts
    }
    deadline = time.monotonic() + seconds
    return {alias: _answer(process, deadline) for alias, process in asked.items()}


def _answer(process: subprocess.Popen[bytes], deadline: float) -> str | None:
    with process:
        try:
            answer, _ = process.communicate(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            return None
        return answer[:MAX_ANSWER].decode("utf-8", "replace") if process.returncode == 0 else None
