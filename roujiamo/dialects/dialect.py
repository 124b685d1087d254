"""What all dialects have in common. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

AGENT = "roujiamo-rsh"


@dataclass(frozen=True)
class LaunchHost:
    """One host as the launcher is told it: `name` (or a numeric alias), and how many processes it takes."""

    name: str
    slots: int


@dataclass(frozen=True)
class Dialect:
    """One MPI's way of being told about hosts and the rsh agent.

    `environment(hostfile, hosts, bind)`: the variables for its mpiexec.
    `hostfile_line(host)`: one line of its hostfile. `processes(n)`: the option that asks for n processes. `versions`:
    patterns, of which one is found in what `mpiexec --version` prints. `daemon`: the program that it starts on each
    host.
    """

    name: str
    versions: tuple[str, ...]
    daemon: str
    hostfile_line: Callable[[LaunchHost], str]
    environment: Callable[[str, Sequence[LaunchHost], bool], Mapping[str, str]]
    processes: Callable[[int], list[str]]

    def recognises(self, version_text: str) -> bool:
        """Tell whether `version_text` is this MPI's."""
        return any(re.search(pattern, version_text) for pattern in self.versions)

    def is_daemon(self, command: str) -> bool:
        """Tell whether a remote command starts this MPI's daemon."""
        return re.search(rf"(^|[\s/;\"]){re.escape(self.daemon)}($|[\s\"])", command) is not None
