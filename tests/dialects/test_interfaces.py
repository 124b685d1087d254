"""A launch host with a bridge that leads nowhere, as containers' are; each host has the same, at the same address."""

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.dialects.conftest import Bench

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("nsenter") is None,
    reason="network namespaces need root, ip (iproute2) and nsenter (util-linux)",
)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=30)


@pytest.fixture
def networks() -> Iterator[str]:
    """Namespaces NAME-1 (the launch host) to NAME-3 on one network; the rest of their names is given."""
    name = f"rj{os.getpid()}"
    made = [f"{name}-{part}" for part in ("bridge", "1", "2", "3")]
    try:
        for each in made:
            ip("netns", "add", each)
        ip("-n", made[0], "link", "add", "bridge", "type", "bridge")
        ip("-n", made[0], "link", "set", "bridge", "up")
        for number, each in enumerate(made[1:], 1):
            ip("-n", each, "link", "set", "lo", "up")
            ip("-n", each, "link", "add", "docker0", "type", "bridge")
            ip("-n", each, "addr", "add", "172.17.0.1/16", "dev", "docker0")
            ip("-n", each, "link", "set", "docker0", "up")
            peer = ("peer", "name", "eth0", "netns", each)
            ip("-n", made[0], "link", "add", f"v{number}", "type", "veth", *peer)
            ip("-n", made[0], "link", "set", f"v{number}", "master", "bridge", "up")
            ip("-n", each, "addr", "add", f"10.77.0.{number}/24", "dev", "eth0")
            ip("-n", each, "link", "set", "eth0", "up")
        yield name
    finally:
        for each in made:
            subprocess.run(["ip", "netns", "del", each], stderr=subprocess.DEVNULL, timeout=30)


def test_daemons_call_home_where_the_call_backs_came(bench: Bench, networks: str) -> None:
    """The launcher would offer the bridge's address, or its own name, which here is loopback's."""
    inside = f"nsenter --net=/run/netns/{networks}"
    bench.around = (*f"{inside}-1".split(),)
    # Alias 198.51.100.N is the host behind 10.77.0.(N+1).
    bench.write_agent(f"{inside}-$((${{host##*.}} + 1))")
    told = bench.plan(2, 1)._replace(network="10.77.0.0/24", interface="eth0", ports=(42000, 42050))
    lines = bench.run(told, "-n", "3")
    assert sorted(line.partition(",")[0] for line in lines.elements()) == [
        "on 198.51.100.1",
        "on 198.51.100.1",
        "on 198.51.100.2",
    ]
