"""The shim's own failures: 255, one sentence that says what and what to try, never 0, never a hang."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from roujiamo.protocol.frames import INITIAL_WINDOW
from tests.shim.session import ROOT, RSH, environment_of, rsh, serving, starting
from tests.support import is_alive, running, until


def sentence(stderr: bytes) -> str:
    """Return the one sentence, without what must stand before it."""
    text = stderr.decode()
    assert text.startswith("roujiamo-rsh: "), text
    assert text.endswith("\n")
    assert text.count("\n") == 1
    assert text[:-1].isprintable()
    return text[len("roujiamo-rsh: ") : -1]


def test_without_a_session_it_says_how_to_get_one(python: str) -> None:
    """The first thing that a new user meets."""
    done = rsh(None, "host", "true", python=python)
    assert done.returncode == 255
    assert sentence(done.stderr) == (
        "host: no session was found: ROUJIAMO_SOCKET is not set; start one with `roujiamo run`, or set ROUJIAMO_MASTER"
    )


@pytest.mark.parametrize("kind", ["no file", "nobody listens", "abstract", "too long", "a file"])
def test_a_session_that_is_gone_is_named(kind: str, tmp_path: Path) -> None:
    """A shell may have outlived its session, with the variable still set."""
    path = tmp_path / "socket"
    address = str(path)
    if kind == "nobody listens":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
    elif kind == "abstract":
        address = f"@roujiamo-test-{os.getpid()}-none"
    elif kind == "too long":
        address = str(tmp_path / ("x" * 108))
    elif kind == "a file":
        path.touch()
    done = rsh(address, "host", "true")
    assert done.returncode == 255
    text = sentence(done.stderr)
    assert text.startswith("host: ")
    assert address[:60] in text
    assert "start one with `roujiamo run`" in text


@pytest.mark.skipif(os.getuid() != 0, reason="only root can take another user's name")
def test_an_abstract_socket_of_another_user_gets_no_token() -> None:
    """The name in ROUJIAMO_SOCKET may have been taken by a stranger on the same host."""
    name = f"roujiamo-test-{os.getpid()}-stranger"
    stranger = (
        "import os, socket; s = socket.socket(socket.AF_UNIX); os.seteuid(65534); "
        f"s.bind('\\0{name}'); s.listen(); print('ready', flush=True); c, _ = s.accept(); print(c.recv(99), flush=True)"
    )
    with running([sys.executable, "-c", stranger], ready="ready") as program:
        done = rsh("@" + name, "host", "true")
        assert done.returncode == 255
        assert "belongs to the user 65534" in sentence(done.stderr)
        program.wait_for_line("b''")


@pytest.mark.parametrize("value", ["soon", "-1", "0", "nan", "inf", "1e9", "5s"])
def test_a_timeout_that_is_no_number_is_named(server: str, value: str) -> None:
    """A value that is silently ignored is worse than none."""
    done = rsh(server, "host", "true", env=environment_of(server, ROUJIAMO_TIMEOUT=value))
    assert done.returncode == 255
    assert f"ROUJIAMO_TIMEOUT is {value}, not a number of seconds" in sentence(done.stderr)


def test_a_host_that_does_not_get_ready_is_waited_for_so_long_and_no_longer(server: str) -> None:
    """Every wait has an end."""
    done = rsh(server, "silent", "true", env=environment_of(server, ROUJIAMO_TIMEOUT="0.2"))
    assert done.returncode == 255
    assert sentence(done.stderr) == (
        "silent: the host was not ready within 0.2 seconds; set ROUJIAMO_TIMEOUT to wait longer"
    )


def test_a_server_that_takes_no_connection_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    """A stopped broker's queue fills up."""
    address = str(tmp_path / "socket")
    with _full_queue(address):
        done = rsh(address, "host", "true", env=environment_of(address, ROUJIAMO_TIMEOUT="0.2"))
    assert done.returncode == 255
    assert "takes no connection" in sentence(done.stderr)


class _full_queue:  # noqa: N801 a context, used as a function
    """A socket that listens, and whose queue has no room."""

    def __init__(self, address: str) -> None:
        self.sockets = [socket.socket(socket.AF_UNIX)]
        self.sockets[0].bind(address)
        self.sockets[0].listen(0)
        self.address = address

    def __enter__(self) -> None:
        while True:
            client = socket.socket(socket.AF_UNIX)
            self.sockets.append(client)
            client.setblocking(False)
            try:
                client.connect(self.address)
            except BlockingIOError:
                return

    def __exit__(self, *_details: object) -> None:
        for each in self.sockets:
            each.close()


@pytest.mark.parametrize("where", ["connecting", "opening"])
@pytest.mark.parametrize("name", ["INT", "TERM", "HUP"])
def test_ctrl_c_works_before_the_command_runs(server: str, tmp_path: Path, where: str, name: str) -> None:
    """There is nobody to forward it to, so it is for the shim."""
    number = getattr(signal, f"SIG{name}")
    if where == "opening":
        with starting(server, "-v", "silent", "true") as shim:
            until(lambda: "asking the session" in shim.errors(), what="the request")
            shim.process.send_signal(number)
            assert shim.wait() == 128 + number
        return
    address = str(tmp_path / "socket")
    with _full_queue(address), starting(address, "-v", "-x", "host", "true") as shim:
        until(lambda: "-x" in shim.errors(), what="the shim's start")
        shim.process.send_signal(number)
        assert shim.wait() == 128 + number


def test_ctrl_c_during_the_start_leaves_no_traceback(server: str) -> None:
    """Python's own handler would print one; whenever it comes, the status is a signal's."""
    for turn in range(10):
        with starting(server, "silent", "true") as shim:
            # Not a wait: the signal is to hit the start at another point each time.
            deadline = until(lambda: Path(f"/proc/{shim.pid}/stat").read_text(), what="the process")
            assert deadline
            for _ in range(turn * 400):
                os.getpid()
            shim.process.send_signal(signal.SIGINT)
            assert shim.wait() in (130, -signal.SIGINT)
            assert shim.errors() == ""


@pytest.mark.parametrize(("host", "status"), [("refused", 255), ("refused-127", 127), ("refused-0", 255)])
def test_a_refusal_is_the_servers_sentence_and_never_0(server: str, host: str, status: int) -> None:
    """An agent that exits 0 without a daemon hangs Open MPI's mpirun for ever."""
    done = rsh(server, host, "true")
    assert done.returncode == status
    assert sentence(done.stderr) == f"{host}: there is no such host;  [1mtry another"


@pytest.mark.parametrize("host", ["garbage", "wrongchannel"])
def test_a_server_that_breaks_the_protocol_is_left(server: str, python: str, host: str) -> None:
    """Going on could only make it worse."""
    done = rsh(server, host, "true", python=python)
    assert done.returncode == 255
    assert "broke the protocol" in sentence(done.stderr)


def test_a_server_that_ignores_the_window_is_left(server: str, tmp_path: Path) -> None:
    """It would fill the memory; what was within the window is still passed on."""
    closed = tmp_path / "closed"
    with subprocess.Popen(
        [RSH, "overrun", str(closed)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment_of(server),
    ) as shim:
        until(closed.exists, what="the closed channel")
        output, errors = shim.communicate(timeout=60)
    assert shim.returncode == 255
    assert output == b"x" * INITIAL_WINDOW
    assert "broke the protocol" in sentence(errors)


@pytest.mark.parametrize(
    ("host", "status", "part"),
    [
        ("gone", 255, "the session ended before the command did"),
        ("lost", 255, "the agent was lost"),
        ("nostatus", 255, "without an exit status"),
        ("bigstatus", 255, None),
    ],
)
def test_an_end_without_an_exit_status_is_a_failure(
    server: str, host: str, status: int, part: str | None
) -> None:
    """Nobody knows what became of the command, so 0 would be a guess."""
    done = rsh(server, host, "true")
    assert done.returncode == status
    assert (part in sentence(done.stderr)) if part else done.stderr == b""
    assert done.stdout == (b"so far\n" if host == "lost" else b"")


def test_a_server_killed_half_way_is_noticed(tmp_path: Path, python: str) -> None:
    """What came before is still passed on."""
    address = str(tmp_path / "socket")
    pid = tmp_path / "pid"
    with serving(address) as server:
        words = ["host", f"echo $$ >{pid}; echo ready; exec sleep 1000"]
        with starting(address, *words, ready="ready", environment={"python": python}) as shim:
            server.process.kill()
            assert shim.wait() == 255
            assert "host: the session ended before the command did" in sentence(shim.errors().encode())
            assert shim.output() == "ready\n"
    os.kill(int(pid.read_text()), signal.SIGKILL)


def test_one_signal_ends_the_shim_where_the_server_takes_none(tmp_path: Path) -> None:
    """A stopped broker cannot forward it; Ctrl-C must work all the same."""
    address = str(tmp_path / "socket")
    pid = tmp_path / "pid"
    words = ["host", f"echo $$ >{pid}; echo ready; exec sleep 1000"]
    with serving(address) as server, starting(address, *words, ready="ready") as shim:
        server.process.send_signal(signal.SIGSTOP)
        # It may run on for a moment, and would take the signal then (proc(5), /proc/pid/stat, state).
        stat = Path(f"/proc/{server.pid}/stat")
        until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", what="the server's stop")
        try:
            shim.process.send_signal(signal.SIGTERM)
            assert shim.wait() == 255
            assert "takes no signals" in sentence(shim.errors().encode())
        finally:
            server.process.send_signal(signal.SIGCONT)
        until(lambda: not is_alive(int(pid.read_text())), what="the end of the command")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "no host was named"),
        (["host"], "host: no command was given, and there is no login shell here"),
        (["-N", "host"], "-N asks ssh to run no command"),
        (["-o"], "the option -o needs a value"),
        (["a b", "true"], "is not a host's name"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_255(words: list[str], part: str) -> None:
    """Without a session too: what is typed comes first."""
    done = rsh(None, *words)
    assert done.returncode == 255
    assert part in sentence(done.stderr)


def test_a_system_call_that_fails_is_named(server: str) -> None:
    """A launch host with hundreds of agents comes near its limits."""

    def limit_descriptors() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (5, 5))

    done = subprocess.run(
        [sys.executable, "-I", "-S", ROOT / "roujiamo" / "shim" / "__main__.py", "host", "true"],
        env=environment_of(server),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        preexec_fn=limit_descriptors,
    )
    assert done.returncode == 255
    assert sentence(done.stderr).startswith("host: a system call failed: Too many open files")


def test_a_bug_of_ours_does_not_pass_for_the_commands_status(python: str) -> None:
    """Python's own status for an uncaught exception is 1, as that of many a command."""
    script = (
        f"import sys; sys.path.append({str(ROOT)!r}); from roujiamo.shim.program import main; "
        "main(['-V']); raise LookupError('a bug')"
    )
    done = subprocess.run([python, "-I", "-S", "-c", script], capture_output=True, timeout=60)
    assert done.returncode == 255
    assert b"LookupError: a bug" in done.stderr
