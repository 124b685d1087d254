"""How a master may be named, and what is said of one that is not there."""

import socket

import pytest

from roujiamo.errors import UsageError
from roujiamo.pymesos_driver.master import Address, ZooKeeper, parse_address, parse_master, reach
from roujiamo.pymesos_driver.trouble import UNREACHABLE, MasterTrouble


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("m1:5050", (Address("m1", 5050),)),
        ("m1", (Address("m1", 5050),)),
        (" http://m1:80 ", (Address("m1", 80),)),
        ("HTTP://10.0.0.1:5050/", (Address("10.0.0.1", 5050),)),
        ("m1:1,m2,http://m3:3", (Address("m1", 1), Address("m2", 5050), Address("m3", 3))),
        ("zk://z1:2181,z2/mesos", ZooKeeper((Address("z1", 2181), Address("z2", 2181)), "/mesos", "")),
        ("zoo://z1/a/b/", ZooKeeper((Address("z1", 2181),), "/a/b", "")),
        ("zk://user:pa:ss@z1:1/m", ZooKeeper((Address("z1", 1),), "/m", "user:pa:ss")),
    ],
)
def test_every_usual_form_names_a_master(text: str, expected: object) -> None:
    """pymesos itself takes `http://host:port` for a host named http."""
    assert parse_master(text) == expected


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "host name"),
        (":5050", "host name"),
        ("m1:", "not a port"),
        ("m1:port", "not a port"),
        ("m1:0", "not a port"),
        ("m1:65536", "not a port"),
        ("m1:\u0665\u0660", "not a port"),
        ("m1,,m2", "host name"),
        ("m 1:5050", "host name"),
        ("user:pw@m1", "credentials"),
        ("https://m1:5050", "plain HTTP"),
        ("ftp://m1", "HOST:PORT"),
        ("[::1]:5050", "IPv6"),
        ("::1", "IPv6"),
        ("zk://z1:2181", "path is missing"),
        ("zk:///mesos", "host name"),
        (",".join(["m"] * 33), "more than 32"),
    ],
)
def test_a_wrong_name_is_refused_with_what_to_write(text: str, hint: str) -> None:
    """One sentence that quotes what was written."""
    with pytest.raises(UsageError, match=hint):
        parse_master(text)


def test_a_zookeeper_password_is_not_repeated() -> None:
    """Neither in a message about the address nor where the ensemble is named."""
    with pytest.raises(UsageError) as caught:
        parse_master("zk://user:s3cret@z1")
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in str(parse_master("zk://user:s3cret@z1/mesos"))


def test_a_redirects_location_is_an_address() -> None:
    """A master's Location is `//host:port`, a proxy's may be a whole URL."""
    assert parse_address("//127.0.0.1:5050") == Address("127.0.0.1", 5050)
    assert parse_address("http://m2:5051/master/api/v1/scheduler") == Address("m2", 5051)
    assert parse_address("//m3/redirect") == Address("m3", 5050)


def test_a_listening_port_is_reached_by_its_number() -> None:
    """pymesos gets numbers, so that its I/O thread never resolves a name."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert reach(Address("localhost", port), 5) == f"127.0.0.1:{port}"


def test_a_closed_port_is_named_as_one() -> None:
    """Trying again may help, so it is not fatal."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(MasterTrouble, match=f"127.0.0.1:{port} .connection refused") as caught:
        reach(Address("127.0.0.1", port), 5)
    assert caught.value.kind == UNREACHABLE
    assert not caught.value.is_fatal


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 70, "a..b"])
def test_a_name_that_does_not_resolve_is_told_from_a_master_that_is_away(host: str) -> None:
    """A label longer than DNS allows is a UnicodeError in Python, not a socket error."""
    with pytest.raises(MasterTrouble, match="cannot be resolved") as caught:
        reach(Address(host, 5050), 5)
    assert caught.value.kind == UNREACHABLE
