"""The command line of the local cluster: `python -m roujiamo.local`, and `roujiamo local`.

Runs in the keeper's process until it is told to stop. What the options mean is in `--help`; mistakes are told in one
sentence.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from roujiamo.errors import RoujiamoError, UsageError
from roujiamo.local.arguments import main_parser
from roujiamo.local.cluster import run_cluster
from roujiamo.local.keeper import ClusterOptions
from roujiamo.local.master import MasterOptions
from roujiamo.mesos.master.quantities import Quantities
from roujiamo.mesos.master.state import Settings
from roujiamo.session.local_master import DEFAULT_AGENTS


def main(argv: Sequence[str] | None = None) -> int:
    """Run a cluster; return its exit status."""
    return run(main_parser().parse_args(argv))


def run(arguments: argparse.Namespace) -> int:
    """Run the cluster that the parsed arguments describe; return its exit status."""
    try:
        run_cluster(_options(arguments))
    except RoujiamoError as error:
        sys.stderr.write(f"roujiamo local: {error}\n")
        return error.exit_status
    except OSError as error:
        # Of what one machine has for a cluster: descriptors, processes, room for the sandboxes.
        sys.stderr.write(f"roujiamo local: the cluster cannot go on: {error.strerror or error}\n")
        return 1
    except KeyboardInterrupt:
        # Before the event loop took the signal over.
        return 0
    return 0


def _options(arguments: argparse.Namespace) -> ClusterOptions:
    if arguments.authenticate_all and arguments.credentials is None:
        raise UsageError("--authenticate-all needs --credentials: whom to let in")
    total: dict[str, Any] = {
        "cpus": round(arguments.cpus * 1000),
        "mem": round(arguments.mem * 1000),
        "disk": round(arguments.disk * 1000),
        "ports": ((31000, 32000),),
    }
    settings = Settings(
        allocation_interval_seconds=arguments.allocation_interval,
        heartbeat_interval_seconds=arguments.heartbeat_interval,
        update_retry_seconds=arguments.update_retry,
        agent_ping_seconds=arguments.agent_ping_timeout,
        agent_removal_seconds=arguments.agent_removal_timeout,
        offer_timeout_seconds=arguments.offer_timeout,
    )
    return ClusterOptions(
        masters=arguments.masters,
        port=arguments.port,
        work_dir=arguments.work_dir.absolute() if arguments.work_dir is not None else None,
        hostnames=_hostnames(arguments),
        networks=tuple(arguments.netns),
        enforces_memory=arguments.enforce_memory,
        master=MasterOptions(
            host=arguments.host,
            total=Quantities(total),
            attributes=arguments.attributes,
            credentials=_read_credentials(arguments.credentials),
            guards_all=arguments.authenticate_all,
            settings=settings,
        ),
        restart_master_seconds=arguments.restart_master,
        restart_agents_seconds=arguments.restart_agents,
        ready_fd=arguments.ready_fd,
        owner_fd=arguments.owner_fd,
    )


def _hostnames(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Raises UsageError."""
    networks, names = len(arguments.netns), arguments.names
    if names is None:
        agents = _agents(arguments.agents, networks)
        return tuple(f"{arguments.name_prefix}{number}" for number in range(1, agents + 1))
    if arguments.agents not in (None, len(names)) or networks not in (0, len(names)):
        raise UsageError(f"{len(names)} --names and another number of --agents or --netns: give as many")
    return tuple(names)


def _agents(wanted: int | None, networks: int) -> int:
    """Raises UsageError."""
    if networks and wanted not in (None, networks):
        raise UsageError(
            f"--agents {wanted} and {networks} times --netns: give one for each agent, or for none"
        )
    return networks or wanted or DEFAULT_AGENTS


def _read_credentials(path: Path | None) -> dict[str, str] | None:
    """A Mesos credentials file: {"credentials": [{"principal": ..., "secret": ...}]}."""
    if path is None:
        return None
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["credentials"]
        return {str(one["principal"]): str(one["secret"]) for one in entries}
    except OSError as error:
        raise UsageError(f"{path}: cannot read the credentials: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        example = '{"credentials": [{"principal": "P", "secret": "S"}]}'
        raise UsageError(f"{path}: no Mesos credentials file; it should look like {example}") from error
