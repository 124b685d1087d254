"""What happens when a part of a session dies, and who cannot get in."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from roujiamo.protocol import handshake
from tests.broker.conftest import SHIM, Session, session_with
from tests.support import MASTERS, children_of, real_mesos, running, scaled, until


@pytest.fixture(params=MASTERS)
def master(request: pytest.FixtureRequest) -> str:
    """The MASTER of each master there is."""
    return str(real_mesos() if request.param == "real" else request.param)


def processes_of(session: Session, module: str) -> list[int]:
    """The pids of the broker's children that run `module`."""
    wanted = module.encode()
    found = []
    for pid in children_of(session.client.pid):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in words:
            found.append(pid)
    return found


def test_a_killed_broker_leaves_nothing(folder: Path) -> None:
    """The tasks, the driver and the cluster of the session end by themselves; the next start sweeps the folder."""
    with session_with(folder) as session:
        session.wait_until_ready()
        everything = children_of(session.client.pid)
        command = subprocess.Popen(
            [SHIM, session.hosts[0]["name"], "sleep 1000"],
            env=session.environment(),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        until(lambda: children_of(session.client.pid) != everything, 10, "the command's start")
        everything |= children_of(session.client.pid)
        session.client.kill()
        _, err = command.communicate(timeout=scaled(20))
        assert command.returncode == 255
        assert err.count(b"\n") == 1
        until(
            lambda: not any(Path(f"/proc/{pid}/cwd").exists() for pid in everything),
            20,
            "an end of all parts",
        )
        for name in ("socket", "lock", "log", "hostfile"):
            (folder / "s" / name).unlink(missing_ok=True)
        (folder / "s").rmdir()


def test_a_killed_driver_is_replaced_and_the_session_goes_on(folder: Path) -> None:
    """The framework's id outlives the driver; running commands do not notice."""
    with session_with(folder) as session:
        session.wait_until_ready()
        (driver,) = processes_of(session, "roujiamo.driver")
        name = session.hosts[0]["name"]
        with subprocess.Popen(
            [SHIM, name, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=session.environment()
        ) as running:
            assert running.stdin is not None
            assert running.stdout is not None
            running.stdin.write(b"before\n")
            running.stdin.flush()
            assert running.stdout.readline() == b"before\n"
            os.kill(driver, signal.SIGKILL)
            until(
                lambda: processes_of(session, "roujiamo.driver") not in ([], [driver]), 20, "another driver"
            )
            running.stdin.write(b"after\n")
            running.stdin.close()
            assert running.stdout.read() == b"after\n"
            assert running.wait(scaled(10)) == 0
        closed = session.end()[-1]
        assert closed == {"event": "closed", "clean": True, "commands": 1, "causes": []}


def test_a_driver_that_is_killed_at_the_end_is_followed_by_one_that_tears_down(
    folder: Path, master: str
) -> None:
    """One killed part, at any moment, leaves no framework."""
    with session_with(folder, master=master) as session:
        session.wait_until_ready()
        (driver,) = processes_of(session, "roujiamo.driver")
        os.kill(driver, signal.SIGSTOP)
        session.client.end()
        os.kill(driver, signal.SIGKILL)
        assert session.next("closed")["clean"]


def test_sigterm_ends_the_broker_and_with_it_the_session(folder: Path) -> None:
    """A system that shuts down sends it; the program that starts a broker may have it blocked. The owner is told."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        with session_with(folder) as session:
            session.wait_until_ready()
            os.kill(session.client.pid, signal.SIGTERM)
            assert "(SIGTERM)" in session.next("failed")["message"]
            assert session.next("closed")["clean"]
            assert session.client.wait(scaled(10)) == 1
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def test_what_a_killed_owner_has_named_ends_with_it(folder: Path) -> None:
    """Its mpiexec would go on, and write to the session's folder while that is removed."""
    with running(["sleep", "1000"]) as child, session_with(folder) as session:
        session.client.name_child(child.pid)
        session.next("listening")
        # As the kernel does for a killed process.
        session.client.control.shutdown(socket.SHUT_RDWR)
        assert child.wait() == -signal.SIGKILL


def test_a_killed_proxy_is_a_lost_host_that_is_named(folder: Path) -> None:
    """The command's shim gets 255 and a sentence, the owner an event; the other host goes on."""
    with session_with(folder) as session:
        session.wait_until_ready()
        one, other = session.hosts
        with subprocess.Popen(
            [SHIM, one["name"], "sleep 1000"], env=session.environment(), stderr=subprocess.PIPE
        ) as shim:
            until(lambda: session.rsh(one["name"], "pgrep -f '^sleep 1000'").returncode == 0, 10, "its start")
            os.kill(int(one["facts"]["pid"]), signal.SIGKILL)
            assert shim.stderr is not None
            err = shim.stderr.read().decode()
            assert shim.wait(scaled(20)) == 255
        assert one["name"] in err
        assert err.count("\n") == 1
        assert session.next("host_lost")["host"] == one["name"]
        assert session.rsh(other["name"], "echo still here").stdout == b"still here\n"
        late = session.rsh(one["name"], "true")
        assert late.returncode == 255
        assert one["name"].encode() in late.stderr


def test_a_host_that_fails_before_it_is_ready_is_replaced(folder: Path) -> None:
    """Another agent takes its place, and the session gets the hosts that it asked for."""
    for _ in range(20):
        with session_with(folder, master="local:3") as session:
            session.next("progress")
            killed = until(lambda: _kill_a_bootstrap(session), 20, "a task that has not called back")
            session.wait_until_ready()
            if "lost (not ready yet)" not in (folder / "s" / "log").read_text():
                # It had been faster.
                continue
            assert len(session.hosts) == 2
            assert str(killed) not in [host["facts"]["pid"] for host in session.hosts]
            for host in session.hosts:
                assert session.rsh(host["name"], "hostname").stdout.decode().strip() == host["name"]
            return
    pytest.fail("all bootstraps had called back before they were killed")


def _kill_a_bootstrap(session: Session) -> int:
    """Kill the first process that runs a task's bootstrap; 0 while there is none."""
    for pid in sorted(children_of(session.client.pid)):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[1:4] == [b"-I", b"-S", b"-c"]:
            os.kill(pid, signal.SIGKILL)
            return pid
    return 0


def test_a_request_that_no_cluster_can_meet_is_explained_at_once_and_times_out(folder: Path) -> None:
    """mesos-hydra's users waited for ever."""
    with session_with(folder, nodes=None, processes=500, timeout_seconds=scaled(3)) as session:
        warning = session.next("warning")["text"]
        assert "room for 8 processes" in warning
        assert "500 are needed" in warning
        with pytest.raises(AssertionError):
            session.next("ready")
        assert session.events[-1]["status"] == 124
        assert "room for 8 processes" in session.events[-1]["message"]


def test_no_master_is_told_with_its_address(folder: Path) -> None:
    """The wait says what it waits for, and its end as well."""
    with session_with(folder, master="127.0.0.1:1", timeout_seconds=scaled(2)) as session:
        with pytest.raises(AssertionError):
            session.next("ready")
        assert session.events[-1]["status"] == 124
        assert "127.0.0.1:1" in session.events[-1]["message"]


def test_the_end_of_the_owner_is_the_end_of_the_session(folder: Path) -> None:
    """The owner may be killed while hosts are still awaited."""
    program = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); "
        "from pathlib import Path; from tests.broker.conftest import session_with\n"
        "with session_with(Path(sys.argv[2]), processes=500, nodes=None) as session:\n"
        "    session.next('warning'); print('waiting', session.client.pid, flush=True); time.sleep(600)"
    )
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen([sys.executable, "-c", program, root, folder], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        _, pid = owner.stdout.readline().split()
        owner.kill()
    until(lambda: not Path(f"/proc/{int(pid)}/cwd").exists(), 20, "the broker's end")
    until(lambda: not (folder / "s").exists(), 5, "the folder's end")


def callback_port(session: Session) -> int:
    """The port on which the session's broker listens."""
    listening = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A":
            listening.add((fields[9], int(fields[1].split(":")[1], 16)))
    for descriptor in Path(f"/proc/{session.client.pid}/fd").iterdir():
        target = os.readlink(descriptor)
        for inode, port in listening:
            if target == f"socket:[{inode}]":
                return port
    raise AssertionError("the broker does not listen")


def test_strangers_at_the_call_back_port_hear_nothing_and_do_no_harm(folder: Path) -> None:
    """No secret, a wrong one, garbage, a slow one, a crowd: silence, and the session works on."""
    with session_with(folder) as session:
        session.wait_until_ready()
        address = ("127.0.0.1", callback_port(session))
        stranger = handshake.Initiator(os.urandom(32), handshake.FIRST_CONTACT, os.urandom(32)).hello
        for first in (b"GET / HTTP/1.1\r\n\r\n" * 20, os.urandom(97), stranger, stranger + os.urandom(500)):
            with socket.create_connection(address, timeout=scaled(20)) as connection:
                connection.sendall(first)
                connection.settimeout(scaled(20))
                assert _heard(connection) == b""
        crowd = [socket.create_connection(address, timeout=scaled(20)) for _ in range(300)]
        try:
            crowd[0].sendall(b"R")
            assert session.rsh(session.hosts[1]["name"], "echo fine").stdout == b"fine\n"
        finally:
            for connection in crowd:
                connection.close()


def _heard(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1000)
    except ConnectionResetError:
        return b""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_another_user_cannot_use_the_sessions_socket(folder: Path) -> None:
    """The folder is closed to them, and even with the folder open the peer's uid is checked."""
    with session_with(folder) as session:
        session.wait_until_ready()
        path = session.request.folder + "/socket"
        for opened in (folder, Path(session.request.folder)):
            opened.chmod(0o755)
        Path(path).chmod(0o777)
        program = (
            "import os, socket, sys; os.setgid(65534); os.setuid(65534)\n"
            "s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[1])\n"
            "try:\n    s.sendall(bytes([1])); print(len(s.recv(1)))\nexcept OSError: print(0)"
        )
        answer = subprocess.run(
            [sys.executable, "-c", program, path], capture_output=True, text=True, timeout=scaled(20)
        )
        assert answer.stdout.strip() == "0", answer.stderr


def test_no_secret_stands_in_any_argument_list_or_in_the_log(folder: Path) -> None:
    """What ps shows and what a log keeps is for everybody's eyes."""
    hidden = "hidden-" + os.urandom(8).hex()
    with session_with(folder, environment={"MY_KEY": hidden}) as session:
        session.wait_until_ready()
        assert session.rsh(session.hosts[0]["name"], "echo $MY_KEY").stdout.decode().strip() == hidden
        for pid in children_of(os.getpid()):
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            assert hidden.encode() not in words
        assert hidden not in (folder / "s" / "log").read_text()
        token_like = [word for word in json.dumps(session.events).split('"') if len(word) == 64]
        assert token_like == []
