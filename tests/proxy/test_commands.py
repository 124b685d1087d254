"""Remote commands: what sshd would do."""

from __future__ import annotations

from tests.proxy.broker import Bench


def test_both_streams_and_the_status_arrive(host: Bench) -> None:
    """The first thing a launcher needs of its rsh agent."""
    remote = host.broker.run("echo out; echo err >&2; exit 7")
    assert (remote.stdout, remote.stderr, remote.status) == (b"out\n", b"err\n", 7)
