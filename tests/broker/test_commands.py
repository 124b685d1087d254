"""Remote commands through a whole session: shim, broker, proxy and back."""

import hashlib
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.broker.conftest import SHIM, Session
from tests.support import scaled, until


def host(session: Session, number: int = 0) -> str:
    return str(session.hosts[number]["name"])


def test_streams_are_kept_apart_and_the_status_comes_back(session: Session) -> None:
    """The first promise of an rsh agent."""
    result = session.rsh(host(session), "echo out; echo err >&2; exit 7")
    assert (result.stdout, result.stderr, result.returncode) == (b"out\n", b"err\n", 7)


def test_each_command_runs_on_the_host_it_names(session: Session) -> None:
    """By name, in any case, and by the numeric alias that launchers are given."""
    for each in session.hosts:
        for name in (each["name"], each["name"].upper(), each["alias"], f"somebody@{each['name']}"):
            assert session.rsh(name, "hostname").stdout.decode().strip() == each["name"]


def test_an_unknown_host_is_refused_with_the_hosts_there_are(session: Session) -> None:
    """255 and a sentence, as for a name that ssh cannot resolve."""
    result = session.rsh("nowhere", "true")
    assert result.returncode == 255
    assert result.stderr.count(b"\n") == 1
    assert b"there is no host called nowhere; the hosts are " + host(session).encode() in result.stderr


def test_two_hundred_megabytes_come_back_unchanged_and_memory_stays_flat(session: Session) -> None:
    """Windows go end to end: nothing in between collects what the reader has not taken."""
    size = 200 << 20
    block = os.urandom(1 << 20)
    expected = hashlib.sha256(block * (size >> 20)).hexdigest()
    before = _peak(session.client.pid)
    feeder = (
        f"import sys; b = open({str(_block(block))!r}, 'rb').read(); "
        f"[sys.stdout.buffer.write(b) for _ in range({size >> 20})]"
    )
    source = subprocess.Popen(["python3", "-c", feeder], stdout=subprocess.PIPE)
    shim = subprocess.Popen(
        [SHIM, host(session), "cat"], stdin=source.stdout, stdout=subprocess.PIPE, env=session.environment()
    )
    assert source.stdout is not None
    assert shim.stdout is not None
    source.stdout.close()
    digest = hashlib.sha256()
    while chunk := shim.stdout.read(1 << 20):
        digest.update(chunk)
    shim.stdout.close()
    assert shim.wait(scaled(30)) == 0
    assert source.wait(scaled(30)) == 0
    assert digest.hexdigest() == expected
    assert _peak(session.client.pid) - before < 64 << 10, "the broker's peak memory grew by 64 MiB and more"


def _block(block: bytes) -> Path:
    path = Path(f"/proc/self/fd/{os.memfd_create('block')}")
    path.write_bytes(block)
    real = Path(f"/proc/{os.getpid()}/fd/{path.name}")
    _OPEN.append(int(path.name))
    return real


_OPEN: list[int] = []


@pytest.fixture(autouse=True)
def closed_blocks() -> object:
    yield
    while _OPEN:
        os.close(_OPEN.pop())


def _peak(pid: int) -> int:
    """The peak resident memory of a process in KiB (VmHWM, proc(5))."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise AssertionError("no VmHWM")


def test_a_hundred_and_twenty_eight_commands_at_once(session: Session) -> None:
    """As many as Open MPI starts at a time; each gets its own output and status."""
    shims = [
        subprocess.Popen(
            [SHIM, host(session, n % 2), f"echo {n}; exit {n % 100}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=session.environment(),
        )
        for n in range(128)
    ]
    for n, shim in enumerate(shims):
        out, _ = shim.communicate(timeout=scaled(60))
        assert (out, shim.returncode) == (b"%d\n" % n, n % 100)


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2"])
def test_signals_reach_the_command(session: Session, name: str) -> None:
    """The shim passes on what it gets; the command's own way to end is its status."""
    command = f"trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen(
        [SHIM, host(session), command], stdout=subprocess.PIPE, env=session.environment()
    ) as shim:
        assert shim.stdout is not None
        assert shim.stdout.readline() == b"ready\n"
        shim.send_signal(signal.Signals[f"SIG{name}"])
        assert shim.stdout.read() == f"got {name}\n".encode()
        assert shim.wait(scaled(20)) == 9


def test_a_command_that_a_signal_ends_gives_128_and_its_number(session: Session) -> None:
    """As a shell says it."""
    assert session.rsh(host(session), "kill -KILL $$").returncode == 137


def test_a_killed_shim_ends_its_command_with_all_its_children(session: Session) -> None:
    """Nothing of a job outlives the launcher's side of it."""
    command = "sleep 1000 & sleep 1000 & echo $$ $!; wait"
    with subprocess.Popen(
        [SHIM, host(session), command], stdout=subprocess.PIPE, env=session.environment()
    ) as shim:
        assert shim.stdout is not None
        pids = [int(pid) for pid in shim.stdout.readline().split()]
        shim.kill()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 15, f"the end of {pids}")


def test_a_shim_inside_a_task_reaches_another_host(session: Session) -> None:
    """Tree spawn: the daemon on one host starts the one on the next, with the same agent by its bare name."""
    one, other = host(session, 0), host(session, 1)
    inner = f"roujiamo-rsh {other} 'hostname; cat; echo err >&2; exit 5'"
    result = session.rsh(one, inner, input=b"through two hosts\n")
    assert result.stdout.decode() == f"{other}\nthrough two hosts\n"
    assert (result.stderr, result.returncode) == (b"err\n", 5)


def test_the_remote_environment_is_what_sshd_would_set_and_no_secret(session: Session) -> None:
    """Open MPI 5's daemon dies without HOME; the first-contact token is nobody's business any more."""
    names = dict(
        line.split("=", 1)
        for line in session.rsh(host(session), "env").stdout.decode().splitlines()
        if "=" in line
    )
    assert {"HOME", "USER", "LOGNAME", "SHELL", "PATH", "MESOS_SANDBOX"} <= names.keys()
    assert "ROUJIAMO_CALLBACK" not in names
    assert names["ROUJIAMO_SOCKET"].startswith("@")


def test_a_daemon_that_forks_away_lives_until_the_session_ends(session: Session) -> None:
    """As under sshd: what a command left behind in good order goes on."""
    result = session.rsh(host(session), "setsid sleep 1000 >/dev/null 2>&1 </dev/null & echo $!")
    pid = int(result.stdout)
    assert result.returncode == 0
    assert Path(f"/proc/{pid}").exists()
