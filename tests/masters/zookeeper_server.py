"""A real ZooKeeper, and masters that lead there as Mesos's do.

Imported by the test process only. The server is Debian's (packages libzookeeper-java and default-jre-headless, or
zookeeper, which brings both), run by java with a configuration of the test's own on a free port of loopback.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient

from tests.support import scaled, until

JAR = Path("/usr/share/java/zookeeper.jar")
JAVA = shutil.which("java")
MISSING = "no ZooKeeper on this machine (Debian: apt install libzookeeper-java default-jre-headless)"

requires_zookeeper = pytest.mark.skipif(JAVA is None or not JAR.exists(), reason=MISSING)

# For a test as small as these: half a second from fork to listening.
_JAVA_OPTIONS = (
    "-Xmx64m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dzookeeper.admin.enableServer=false",
)

logging.getLogger("kazoo").setLevel(logging.CRITICAL)


class ZooKeeperServer:
    """One server, which may be stopped and started again with its data."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._configuration = folder / "zoo.cfg"
        # Sessions may then be as short as a second, so that a lost client is noticed in a test's time.
        self._configuration.write_text(
            f"tickTime=500\ndataDir={folder / 'data'}\nclientPort={self.port}\nclientPortAddress=127.0.0.1\n"
        )
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process, while it runs."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Return when it serves."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(JAVA),
                    *_JAVA_OPTIONS,
                    "-cp",
                    str(JAR),
                    "org.apache.zookeeper.server.ZooKeeperServerMain",
                    str(self._configuration),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until(self._serves, 30, f"ZooKeeper on port {self.port}: {self._log.read_text()}")

    def stop(self) -> None:
        """As a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _serves(self) -> bool:
        # It listens a moment before it serves, and what connects in between is left waiting.
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as probe:
            probe.sendall(b"srvr")
            return probe.recv(64).startswith(b"Zookeeper version")
        return False

    @contextlib.contextmanager
    def client(self, **options: Any) -> Iterator[Any]:
        """A client of the test's own."""
        client: Any = KazooClient(self.address, timeout=scaled(5), **options)
        client.start(scaled(15))
        try:
            yield client
        finally:
            client.stop()
            client.close()

    @contextlib.contextmanager
    def leader(self, master: str, path: str = "/mesos") -> Iterator[None]:
        """Register `master` (ip:port) at `path` as one that stands for election; it leads when nobody did before it.

        At the end of the block it is gone at once, as a master that was ended in good order.
        """
        with self.register(master_info(master), path):
            yield

    @contextlib.contextmanager
    def register(self, content: bytes, path: str = "/mesos", **options: Any) -> Iterator[None]:
        """The same with any content, and options of the node."""
        with self.client() as client:
            client.ensure_path(path)
            client.create(f"{path}/json.info_", content, ephemeral=True, sequence=True, **options)
            yield


@contextlib.contextmanager
def zookeeper_server(folder: Path) -> Iterator[ZooKeeperServer]:
    """A running server with its files in `folder`."""
    server = ZooKeeperServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def master_info(master: str) -> bytes:
    """What a Mesos 1.11 master writes of itself (mesos.proto, MasterInfo), as JSON.

    `ip` there is the address as a number whose bytes are in network order, `address` is what is meant to be read.
    """
    ip, _, port = master.rpartition(":")
    info = {
        "address": {"hostname": ip, "ip": ip, "port": int(port)},
        "capabilities": [{"type": "AGENT_UPDATE"}, {"type": "AGENT_DRAINING"}, {"type": "QUOTA_V2"}],
        "hostname": ip,
        "id": "00000000-0000-0000-0000-000000000000",
        "ip": int.from_bytes(socket.inet_aton(ip), "little"),
        "pid": f"master@{master}",
        "port": int(port),
        "version": "1.11.0",
    }
    return json.dumps(info, separators=(",", ":")).encode()


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
