"""The leading master, as ZooKeeper knows it.

Runs in the driver, in a thread that may block. Masters register one sequence node each under Mesos's path; the lowest
leads, and holds a MasterInfo in JSON (Mesos documentation, "High-Availability Mode"). It is asked once for each
subscription and not watched: a master that stops leading ends its process, and with it our event stream.

ZooKeeper is trusted to name the master, and not to answer: whatever it does, `find_leader` ends in its time. Each
server of an ensemble gets its share of that, so that one that hangs cannot hide the others.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from typing import Any

from roujiamo.pymesos_driver.master import Address, ZooKeeper, reach
from roujiamo.pymesos_driver.trouble import NO_MASTER, UNREACHABLE, MasterTrouble, quote

NODE_PREFIX = "json.info_"


def find_leader(ensemble: ZooKeeper, seconds: float) -> Address:
    """Return the leading master's address.

    Raises MasterTrouble where ZooKeeper cannot be asked in time, or knows no master; it is fatal where waiting mends
    nothing: no server's name exists, or ZooKeeper does not let us read.
    """
    deadline = time.monotonic() + seconds
    share = seconds / (len(ensemble.addresses) + 1)
    servers = _listening_first(ensemble, share, deadline)
    # kazoo takes 60 ms to import, which the users of a plain address need not pay.
    from kazoo.client import KazooClient
    from kazoo.exceptions import AuthFailedError, KazooException, NoAuthError, NoNodeError

    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    client: Any = KazooClient(
        hosts=",".join(map(str, servers)),
        randomize_hosts=False,
        # Also how long it waits for one server's answer before it tries the next.
        timeout=share,
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
    except (NoAuthError, AuthFailedError) as error:
        sentence = (
            f"ZooKeeper does not let us read {ensemble}: ask for the USER:PASSWORD of zk://USER:PASSWORD@..."
        )
        raise MasterTrouble(UNREACHABLE, sentence, is_fatal=True) from error
    except (KazooException, client.handler.timeout_exception) as error:
        reason = "no answer" if isinstance(error, client.handler.timeout_exception) else repr(error)
        raise MasterTrouble(UNREACHABLE, f"ZooKeeper cannot be asked at {ensemble}: {reason}") from error
    finally:
        # Both may find a connection in pieces; there is nothing left to do about it.
        with suppress(KazooException, client.handler.timeout_exception, OSError):
            client.stop()
            client.close()


def _listening_first(ensemble: ZooKeeper, share: float, deadline: float) -> list[Address]:
    """Return the servers, one that accepts connections first.

    kazoo tries closed ports again and again until its time is up; the user can be told at once. Raises MasterTrouble.
    """
    troubles: list[MasterTrouble] = []
    for turn, address in enumerate(ensemble.addresses):
        try:
            reach(address, min(share, deadline - time.monotonic()), "ZooKeeper server")
            return [*ensemble.addresses[turn:], *ensemble.addresses[:turn]]
        except MasterTrouble as error:
            troubles.append(error)
    sentence = f"ZooKeeper cannot be asked at {ensemble}: {troubles[0]}"
    raise MasterTrouble(
        UNREACHABLE, sentence, is_fatal=all(error.is_fatal for error in troubles)
    ) from troubles[0]


def _address(ensemble: ZooKeeper, content: bytes) -> Address:
    try:
        address = json.loads(content)["address"]
        return Address(str(address["ip"]), int(address["port"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        said = quote(content[:80].decode("utf-8", "replace"))
        sentence = f"what ZooKeeper holds for the leading master at {ensemble} is not readable: {said}"
        raise MasterTrouble(NO_MASTER, sentence) from error
