"""Where the benchmarks run: a local cluster with a held session on it, and an sshd on each of its hosts to compare.

Imported by the benchmarks only. As root each host is a network namespace of its own, made for this alone. The sshd is
Debian's openssh-server with keys and a configuration in a temporary folder; the machine's own accounts, configuration
and /run are left as they are.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roujiamo.system.sessions import ask
from tests.matrix import networks
from tests.matrix.conftest import cluster
from tests.matrix.networks import Network
from tests.support import mpi_environment, running, scaled, until
from tests.support.tools import ROOT

SHIM = str(ROOT / "bin" / "roujiamo-rsh")
SSHD = "/usr/sbin/sshd"
_PORT = 2222


@dataclass
class Ground:
    """A cluster: `launch` is how to run something on the launch host, `network` its namespaces as root."""

    master: str
    launch: Sequence[str]
    network: Network | None
    environment: dict[str, str]

    def address(self, number: int) -> str:
        """The address of the host of that number, from 1."""
        assert self.network is not None
        return f"10.77.0.{number + 1}"


@dataclass
class Held:
    """A session that `roujiamo alloc` holds: the environment in it, and its processes' pids."""

    environment: dict[str, str]
    owner: int
    broker: int
    hosts: list[str] = field(default_factory=list)


@contextlib.contextmanager
def ground(agents: int, *options: str) -> Iterator[Ground]:
    """A local cluster of so many agents, in namespaces where that is possible."""
    environment = {
        # Users have bytecode; without this each program would compile the whole package at each start.
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        **mpi_environment(),
        "PYTHONPATH": str(ROOT),
        "ROUJIAMO_PYTHON": sys.executable,
    }
    with contextlib.ExitStack() as stack:
        network, inside, words = None, [], ["--agents", str(agents)]
        if networks.why_not() is None:
            network = stack.enter_context(networks.network(agents))
            inside = ["ip", "netns", "exec", network.launch]
            words = ["--host", network.address]
            words += [word for name in network.agents for word in ("--netns", name)]
        hosts = stack.enter_context(cluster(*words, *options, inside=inside))
        yield Ground(hosts.master, inside, network, {**environment, "TMPDIR": str(hosts.folder)})


_TELL = "import json, os, sys; print(json.dumps(dict(os.environ)), flush=True); sys.stdin.read()"


@contextlib.contextmanager
def held(place: Ground, hosts: int, *options: str) -> Iterator[Held]:
    """A session with so many hosts."""
    line = [*place.launch, sys.executable, "-m", "roujiamo", "alloc", "-q", "-N", str(hosts), *options]
    line += ["--master", place.master, "--", sys.executable, "-c", _TELL]
    with running(
        line, ready="{", environment=place.environment, seconds=120, stdin=subprocess.PIPE
    ) as program:
        environment = json.loads(program.ready_line)
        status = _status(environment)
        names = [host["name"] for host in status["hosts"]]
        try:
            yield Held(environment, status["owner_pid"], status["pid"], names)
        finally:
            assert program.process.stdin is not None
            program.process.stdin.close()
            program.wait(60)


def _status(environment: dict[str, str]) -> dict[str, Any]:
    return ask(Path(environment["ROUJIAMO_SOCKET"]).parent, {"request": "status"})


def why_no_sshd() -> str | None:
    """Return why there is nothing to compare with here; None where there is."""
    if not os.access(SSHD, os.X_OK) or shutil.which("ssh") is None:
        return "no sshd here (Debian: openssh-server and openssh-client)"
    return networks.why_not()


@dataclass
class Ssh:
    """sshds on hosts: `line(number)` begins an ssh to one; `agent` is the same as an rsh agent's words."""

    folder: Path
    place: Ground

    @property
    def agent(self) -> str:
        return f"ssh -F {self.folder}/config"

    def line(self, number: int) -> list[str]:
        return [*self.place.launch, "ssh", "-F", f"{self.folder}/config", self.place.address(number)]


_SSHD_CONFIG = """\
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PidFile none
UsePAM no
UseDNS no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
MaxStartups 1000
"""
_SSH_CONFIG = """\
Host *
  Port {port}
  IdentityFile {folder}/key
  IdentitiesOnly yes
  BatchMode yes
  UserKnownHostsFile {folder}/known_hosts
  StrictHostKeyChecking no
  LogLevel ERROR
"""


@contextlib.contextmanager
def sshds(place: Ground, hosts: int) -> Iterator[Ssh]:
    """An sshd on each of the first hosts."""
    assert place.network is not None
    folder = Path(tempfile.mkdtemp(prefix="rj-ssh-"))
    servers: list[subprocess.Popen[bytes]] = []
    try:
        for name in ("key", "host_key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True
            )
        for name, text in (("sshd_config", _SSHD_CONFIG), ("config", _SSH_CONFIG)):
            (folder / name).write_text(text.format(folder=folder, port=_PORT))
        # sshd wants a folder /run/sshd: in a mount namespace of its own (`ip netns exec` makes one) it may have that.
        script = f"mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && exec {SSHD} -D -e -f {folder}/sshd_config"
        for number, space in enumerate(place.network.agents[:hosts], 1):
            # One hostname for each, as the cluster's agents have: MPI's shared memory is named after it.
            line = [
                "ip",
                "netns",
                "exec",
                space,
                "unshare",
                "--uts",
                "sh",
                "-c",
                f"hostname ssh{number}; {script}",
            ]
            with open(folder / f"log{number}", "wb") as log:
                servers.append(subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        ssh = Ssh(folder, place)
        for number in range(1, hosts + 1):
            until(lambda number=number: _answers(ssh, number), 60, f"an answer of sshd {number}")
        yield ssh
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait(scaled(10))
        shutil.rmtree(folder, ignore_errors=True)


def _answers(ssh: Ssh, number: int) -> bool:
    done = subprocess.run(
        [*ssh.line(number), "true"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return done.returncode == 0
