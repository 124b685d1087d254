"""ZooKeepers that are no use: each is one sentence, in a bounded time, with no thread or socket left."""

import socket
import threading

import pytest

from roujiamo.pymesos_driver.master import Address, ZooKeeper
from roujiamo.pymesos_driver.trouble import UNREACHABLE, MasterTrouble
from roujiamo.pymesos_driver.zookeeper import find_leader


def ensemble(port: int) -> ZooKeeper:
    """One server on this machine."""
    return ZooKeeper((Address("127.0.0.1", port),), "/mesos", "")


def test_a_closed_port_is_no_zookeeper() -> None:
    """Nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(
        MasterTrouble, match=rf"ZooKeeper cannot be asked at zk://127.0.0.1:{port}/mesos"
    ) as caught:
        find_leader(ensemble(port), 1)
    assert (caught.value.kind, caught.value.is_fatal) == (UNREACHABLE, False)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\x04\0\0\0\0"])
def test_what_is_no_zookeeper_is_not_waited_for_longer(answer: bytes) -> None:
    """It accepts, and says nothing or nonsense."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connections = []

        def serve() -> None:
            try:
                while True:
                    connection, _ = listener.accept()
                    connections.append(connection)
                    connection.sendall(answer)
            except OSError:
                pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with pytest.raises(MasterTrouble, match="ZooKeeper cannot be asked"):
                find_leader(ensemble(listener.getsockname()[1]), 1)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in connections:
                connection.close()
