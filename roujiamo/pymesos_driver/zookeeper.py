"""The leading master, as ZooKeeper knows it.

Runs in the driver, in a thread that may block. Masters register one sequence node each under Mesos's path; the lowest
leads, and holds a MasterInfo in JSON (Mesos documentation, "High-Availability Mode"). It is asked once for each
subscription and not watched: a master that stops leading ends its process, and with it our event stream.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from typing import Any

from roujiamo.pymesos_driver.master import Address, ZooKeeper, reach
from roujiamo.pymesos_driver.trouble import NO_MASTER, UNREACHABLE, MasterTrouble

NODE_PREFIX = "json.info_"


def find_leader(ensemble: ZooKeeper, seconds: float) -> Address:
    """Return the leading master's address.

    Raises MasterTrouble where ZooKeeper cannot be asked in time, or knows no master.
    """
    deadline = time.monotonic() + seconds
    _check_any_listens(ensemble, deadline)
    # kazoo takes 60 ms to import, which the users of a plain address need not pay.
    from kazoo.client import KazooClient
    from kazoo.exceptions import KazooException, NoNodeError

    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    client: Any = KazooClient(
        hosts=",".join(map(str, ensemble.addresses)),
        timeout=seconds,
        auth_data=[("digest", ensemble.digest)] if ensemble.digest else None,
    )
    try:
        client.start(timeout=max(deadline - time.monotonic(), 0.1))
        nodes = [node for node in client.get_children(ensemble.path) if node.startswith(NODE_PREFIX)]
        if not nodes:
            raise MasterTrouble(NO_MASTER, f"no Mesos master leads at {ensemble}: is one running?")
        content, _ = client.get(f"{ensemble.path}/{min(nodes)}")
        return _address(ensemble, content)
    except NoNodeError as error:
        sentence = (
            f"no Mesos master leads at {ensemble} (there is no such path): check the path, and that one runs"
        )
        raise MasterTrouble(NO_MASTER, sentence) from error
    except (KazooException, client.handler.timeout_exception) as error:
        reason = "no answer" if isinstance(error, client.handler.timeout_exception) else repr(error)
        raise MasterTrouble(UNREACHABLE, f"ZooKeeper cannot be asked at {ensemble}: {reason}") from error
    finally:
        # Both may find a connection in pieces; there is nothing left to do about it.
        with suppress(KazooException, client.handler.timeout_exception, OSError):
            client.stop()
            client.close()


def _check_any_listens(ensemble: ZooKeeper, deadline: float) -> None:
    """kazoo tries closed ports again and again until its time is up; the user can be told at once."""
    troubles = []
    for address in ensemble.addresses:
        try:
            reach(address, deadline - time.monotonic(), "ZooKeeper server")
            return
        except MasterTrouble as error:
            troubles.append(error)
    raise MasterTrouble(UNREACHABLE, f"ZooKeeper cannot be asked at {ensemble}: {troubles[0]}") from troubles[
        0
    ]


def _address(ensemble: ZooKeeper, content: bytes) -> Address:
    try:
        address = json.loads(content)["address"]
        return Address(str(address["ip"]), int(address["port"]))
    except (ValueError, KeyError, TypeError) as error:
        sentence = (
            f"what ZooKeeper holds for the leading master at {ensemble} is not readable: {content[:80]!r}"
        )
        raise MasterTrouble(NO_MASTER, sentence) from error
