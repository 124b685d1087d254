"""One remote command through a real shim and a real socket: streams, status, windows, signals."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pty
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
from pathlib import Path
from typing import IO

import pytest

from roujiamo.protocol.frames import MAX_COMMAND
from tests.shim.session import RSH, entry_at, environment_of, package_at, rsh, serving, starting
from tests.support import running, until

MEGABYTE = 1 << 20
SYSTEM_PYTHON = shutil.which("python3", path="/usr/bin:/bin")


def peak_memory(pid: int) -> int:
    """The most memory that a process ever had, in bytes (proc(5), VmHWM); 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def test_streams_stay_apart_and_the_status_comes_back(server: str, python: str) -> None:
    """The issue's own example."""
    done = rsh(server, "host", "echo out; echo err >&2; exit 7", python=python)
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 7)


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("true", 0),
        ("exit 255", 255),
        ("no-such-program", 127),
        ("/", 126),
        ("kill -TERM $$", 143),
        ("kill -9 $$", 137),
    ],
)
def test_the_exit_status_is_the_commands(server: str, command: str, status: int) -> None:
    """Launchers tell a missing orted (127) from a failed one by it; a signal is 128 + n, as shells say."""
    assert rsh(server, "host", command).returncode == status


@pytest.mark.parametrize(
    "text",
    [
        b"a  b\tc",
        b"'single' \"double\" `back` $HOME \\ *",
        b"two\nlines\n",
        "grüß 世界".encode(),
        b"\xff\xfe\x80 not utf-8",
        b"\x1b[31m",
    ],
    ids=ascii,
)
def test_any_bytes_reach_the_remote_shell(server: str, python: str, text: bytes) -> None:
    """The interpreter decodes its arguments by the locale; the bytes must come out as they went in."""
    quoted = b"'" + text.replace(b"'", b"'\\''") + b"'"
    for locale in ("C", "C.UTF-8"):
        environment = environment_of(server, python, LC_ALL=locale)
        done = rsh(server, "host", b"printf %s", quoted, env=environment)
        assert (done.stdout, done.returncode) == (text, 0)


def test_the_words_are_joined_by_blanks(server: str) -> None:
    """As ssh joins them: the remote shell splits again."""
    assert rsh(server, "-x", "me@host", "-n", "printf", "'<%s>'", "a", "'b c'", "").stdout == b"<a><b c>"


def test_the_longest_command_arrives_whole(server: str) -> None:
    """It is larger than what a socket takes at once."""
    command = "printf %s " + "x" * (MAX_COMMAND - 10)
    assert rsh(server, "host", command).stdout == b"x" * (MAX_COMMAND - 10)


def test_the_token_is_handed_to_the_server(server: str) -> None:
    """Inside a task the socket's server tells the commands of one session from others by it."""
    environment = environment_of(server, ROUJIAMO_TOKEN="5e55")
    assert rsh(server, "host", "echo $ROUJIAMO_TEST_TOKEN", env=environment).stdout == b"5e55\n"


def test_stdin_and_its_end_are_passed_on(server: str, python: str) -> None:
    """`cat` ends only when it has seen the end of stdin; what it then still says must come back."""
    done = rsh(server, "host", "cat; echo end", python=python, input=b"a\nb")
    assert done.stdout == b"a\nbend\n"


def test_stdin_of_the_null_device_or_nothing_is_empty(server: str) -> None:
    """Open MPI gives agents /dev/null; a daemon may give nothing at all."""
    assert rsh(server, "host", "cat; echo end").stdout == b"end\n"
    done = subprocess.run(
        f"'{RSH}' host 'cat; echo end' <&-",
        shell=True,
        env=environment_of(server),
        capture_output=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == (b"end\n", b"")


def test_n_leaves_stdin_alone(server: str) -> None:
    """Without -n the shim in a `while read` loop would eat the loop's input, as ssh does."""
    script = f"printf 'a\\nb\\n' | while read -r word; do '{RSH}' -n host echo $word; done"
    done = subprocess.run(
        script, shell=True, env=environment_of(server), capture_output=True, timeout=60, executable="/bin/sh"
    )
    assert done.stdout == b"a\nb\n"


def test_a_command_that_does_not_read_its_input_ends_all_the_same(server: str) -> None:
    """`yes | ssh host true` ends; the input that nobody wants is dropped."""
    script = f"yes | '{RSH}' host 'exit 3'"
    done = subprocess.run(script, shell=True, env=environment_of(server), timeout=60)
    assert done.returncode == 3


def test_closed_output_descriptors_are_not_written_to_by_accident(server: str) -> None:
    """With stdout closed, the session's socket would become descriptor 1."""
    script = f"'{RSH}' host 'echo out; echo err >&2; exit 4' >&- 2>&-"
    assert subprocess.run(script, shell=True, env=environment_of(server), timeout=60).returncode == 4


def test_a_server_that_sends_one_byte_at_a_time_is_understood(server: str, python: str) -> None:
    """A stream socket may cut frames anywhere."""
    done = rsh(server, "onebyte", "cat; echo err >&2; exit 9", python=python, input=b"x" * 1000)
    assert (done.stdout, done.stderr, done.returncode) == (b"x" * 1000, b"err\n", 9)


def test_two_hundred_megabytes_go_through_cat_in_flat_memory(server: str, python: str) -> None:
    """Both directions at once, unchanged; the shim keeps a window at most."""
    block = random.Random(1).randbytes(MEGABYTE)
    sent, received, size, peak = hashlib.sha256(), hashlib.sha256(), 0, 0
    with subprocess.Popen(
        [RSH, "host", "cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment_of(server, python),
    ) as shim:
        assert shim.stdin
        assert shim.stdout
        feeder = threading.Thread(target=_feed, args=(shim.stdin, block, 200))
        feeder.start()
        first = peak_memory(shim.pid)
        while data := os.read(shim.stdout.fileno(), MEGABYTE):
            received.update(data)
            size += len(data)
            peak = max(peak, peak_memory(shim.pid))
        feeder.join()
    for _ in range(200):
        sent.update(block)
    assert size == 200 * MEGABYTE
    assert received.digest() == sent.digest()
    assert shim.returncode == 0
    assert peak < 40 * MEGABYTE, f"{first} -> {peak}"


def _feed(stdin: IO[bytes], block: bytes, count: int) -> None:
    with stdin:
        for _ in range(count):
            stdin.write(block)


def test_a_reader_that_stops_holds_the_command_and_not_the_memory(server: str, tmp_path: Path) -> None:
    """`| less` must not pull a gigabyte into the shim."""
    progress = tmp_path / "progress"
    command = f"for i in $(seq 64); do head -c {MEGABYTE} /dev/zero; echo $i >{progress}; done; echo >{progress}.end"
    with subprocess.Popen(
        [RSH, "host", command], stdout=subprocess.PIPE, env=environment_of(server), stdin=subprocess.DEVNULL
    ) as shim:
        assert shim.stdout
        # Nothing is read; the command comes as far as the window and the pipes on the way let it.
        looks = []

        def stands_still() -> bool:
            looks.append(progress.read_text() if progress.exists() else "")
            return _bytes_in(shim.stdout) >= 65536 and len(set(looks[-10:])) == 1 and len(looks) > 10

        until(stands_still, what="the command waiting for its reader")
        assert int(progress.read_text()) < 8
        assert peak_memory(shim.pid) < 40 * MEGABYTE
        size = 0
        while data := os.read(shim.stdout.fileno(), MEGABYTE):
            size += len(data)
    assert size == 64 * MEGABYTE
    assert (shim.returncode, Path(f"{progress}.end").exists()) == (0, True)


def _bytes_in(pipe: IO[bytes] | None) -> int:
    """How much a pipe holds (ioctl_pipe(2), FIONREAD)."""
    assert pipe
    return int.from_bytes(fcntl.ioctl(pipe.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)


def test_a_stopped_stdout_does_not_stop_stderr(server: str) -> None:
    """mpiexec reads both by turns; as long as the shared window has room the other goes on."""
    command = "head -c 200000 /dev/zero; echo loud >&2; cat"
    with subprocess.Popen(
        [RSH, "host", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment_of(server),
    ) as shim:
        assert shim.stdin
        assert shim.stdout
        assert shim.stderr
        assert shim.stderr.readline() == b"loud\n"
        shim.stdin.close()
        assert len(shim.stdout.read()) == 200_000


def test_the_parents_descriptors_stay_blocking(server: str) -> None:
    """mpiexec shares its stderr with all its agents: one that made it non-blocking would break mpiexec's output."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as reader, os.fdopen(write_end, "wb") as writer:
        done = rsh(server, "host", "echo out; echo err >&2", stdout=writer, stderr=writer)
        assert done.returncode == 0
        assert os.get_blocking(writer.fileno())
        writer.close()
        assert sorted(reader.read().split()) == [b"err", b"out"]


@pytest.mark.parametrize("kind", ["file", "socket", "terminal"])
def test_every_kind_of_stdout_gets_it_all(server: str, python: str, kind: str, tmp_path: Path) -> None:
    """Each has its own way of not blocking."""
    size = 300_000
    command = f"head -c {size} /dev/zero | tr '\\0' x"
    if kind == "file":
        with open(tmp_path / "out", "wb") as file:
            file.write(b"before ")
            file.flush()
            assert rsh(server, "host", command, python=python, stdout=file).returncode == 0
        assert (tmp_path / "out").read_bytes() == b"before " + b"x" * size
        return
    if kind == "socket":
        ours, theirs = socket.socketpair()
        ours_fd, theirs_fd = ours.detach(), theirs.detach()
    else:
        ours_fd, theirs_fd = pty.openpty()
    shim = subprocess.Popen(
        [RSH, "host", command],
        stdin=subprocess.DEVNULL,
        stdout=theirs_fd,
        env=environment_of(server, python),
    )
    os.close(theirs_fd)
    received = 0
    try:
        while data := os.read(ours_fd, 65536):
            received += len(data)
    except OSError:
        # A terminal whose last user has closed it says EIO at the end.
        pass
    os.close(ours_fd)
    assert shim.wait(60) == 0
    assert received == size


@pytest.mark.skipif(
    os.getuid() != 0 or not SYSTEM_PYTHON, reason="needs root and a Python that all users can run"
)
def test_a_pipe_of_another_user_gets_it_all_and_does_not_block_stderr(server: str) -> None:
    """After `su`, stdout may be a pipe that cannot be opened once more: only as much as must fit is written to it."""
    address = f"@roujiamo-test-{os.getpid()}-pipe"
    command = "head -c 300000 /dev/zero; echo loud >&2"
    with tempfile.TemporaryDirectory() as folder, serving(address):
        os.chmod(folder, 0o755)
        package_at(Path(folder))
        with subprocess.Popen(
            [entry_at(Path(folder) / "bin"), "host", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment_of(address, str(SYSTEM_PYTHON)),
            cwd="/",
            user=65534,
            group=65534,
            extra_groups=[],
        ) as shim:
            assert shim.stdout
            assert shim.stderr
            assert shim.stderr.readline() == b"loud\n"
            assert len(shim.stdout.read()) == 300_000
    assert shim.returncode == 0


def test_a_closed_stdout_kills_the_command(server: str, python: str, tmp_path: Path) -> None:
    """`| head -1` ends at once, in silence, with the status of a filter that lost its reader."""
    script = f"{{ '{RSH}' host 'echo $$ >{tmp_path}/pid; exec yes'; echo $? >{tmp_path}/status; }} | head -1"
    done = subprocess.run(
        script, shell=True, env=environment_of(server, python), capture_output=True, timeout=60
    )
    assert (done.stdout, done.stderr) == (b"y\n", b"")
    assert (tmp_path / "status").read_text() == "141\n"
    pid = (tmp_path / "pid").read_text().strip()
    until(lambda: not Path(f"/proc/{pid}").exists(), what="the end of the remote command")


def test_a_closed_stderr_leaves_the_command_alone(server: str) -> None:
    """stdout and the status are still worth having."""
    command = "i=0; while [ $i -lt 2000 ]; do echo $i >&2; i=$((i+1)); done; echo out; exit 5"
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = rsh(server, "host", command, stderr=write_end)
    os.close(write_end)
    assert (done.stdout, done.returncode) == (b"out\n", 5)


def test_a_full_disk_is_our_failure(server: str) -> None:
    """The command's 0 would be a lie when its output is lost."""
    with open("/dev/full", "wb") as full:
        done = rsh(server, "host", "echo out", stdout=full)
    assert done.returncode == 255
    assert done.stderr == b"roujiamo-rsh: host: stdout cannot be written: No space left on device\n"


def test_stdouts_end_is_passed_on_before_the_commands(server: str, tmp_path: Path) -> None:
    """A reader that waits for the end of the data does not wait for a daemon's end."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(
        [RSH, "host", f"echo data; exec >&-; read x <{fifo}; exit 6"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=environment_of(server),
    ) as shim:
        assert shim.stdout
        assert shim.stdout.read() == b"data\n"
        assert shim.poll() is None
        fifo.write_text("go\n")
        assert shim.wait(60) == 6


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2"])
def test_signals_reach_the_command(server: str, name: str) -> None:
    """mpiexec's daemons clean up on them; the status is what the command makes of the signal."""
    command = f"trap 'echo got {name}; exit 42' {name}; echo ready; while :; do sleep 0.05; done"
    with starting(server, "host", command, ready="ready") as shim:
        shim.process.send_signal(getattr(signal, f"SIG{name}"))
        assert shim.wait() == 42
        assert shim.output() == f"ready\ngot {name}\n"


def test_signals_reach_the_command_on_the_oldest_python(server: str, python: str) -> None:
    """The wake-up pipe is the interpreter's, and differs between versions."""
    command = "echo ready; exec sleep 1000"
    with starting(server, "host", command, ready="ready", environment={"python": python}) as shim:
        shim.process.send_signal(signal.SIGTERM)
        assert shim.wait() == 143
        assert shim.errors() == ""


@pytest.mark.parametrize("second", ["INT", "TERM"])
def test_a_second_signal_ends_the_shim_at_once(server: str, second: str, tmp_path: Path) -> None:
    """Ctrl-C twice means now, even where the command ignores both; the far side then kills it."""
    command = f"trap '' INT TERM; echo $$ >{tmp_path}/pid; echo ready; while :; do sleep 0.05; done"
    with starting(server, "host", command, ready="ready") as shim:
        shim.process.send_signal(signal.SIGINT)
        until(lambda: _pending(shim.pid) == 0, what="the first signal's handling")
        shim.process.send_signal(getattr(signal, f"SIG{second}"))
        assert shim.wait() == 128 + getattr(signal, f"SIG{second}")
        assert shim.errors() == ""
    pid = (tmp_path / "pid").read_text().strip()
    until(lambda: not Path(f"/proc/{pid}").exists(), what="the end of the remote command")


def _pending(pid: int) -> int:
    """The signals that a process has not taken yet (proc(5), SigPnd and ShdPnd)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return sum(int(line.split()[1], 16) for line in status.splitlines() if "Pnd:" in line)


def test_an_ignored_signal_stays_ignored(server: str, tmp_path: Path) -> None:
    """`nohup roujiamo-rsh ... &` outlives the hang-up, as ssh does."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    command = f"trap 'echo hung up' HUP; echo ready; read x <{fifo}; exit 8"
    with running(
        ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", RSH, "host", command],
        ready="ready",
        environment=environment_of(server),
    ) as shim:
        shim.process.send_signal(signal.SIGHUP)
        fifo.write_text("go\n")
        assert shim.wait() == 8
        assert shim.output() == "ready\n"


def test_stop_and_continue_are_for_the_shim_alone(server: str, tmp_path: Path) -> None:
    """Ctrl-Z stops ssh, not the remote command; after `fg` all goes on."""
    ticks = tmp_path / "ticks"
    command = f"echo ready; while [ ! -e {tmp_path}/stop ]; do echo x >>{ticks}; sleep 0.02; done; exit 3"
    # In a group of its own, as a shell's job is: a group without a shell cannot be stopped from a terminal (POSIX).
    with starting(server, "host", command, ready="ready", preexec_fn=os.setpgrp) as shim:
        shim.process.send_signal(signal.SIGTSTP)
        until(lambda: _state(shim.pid) == "T", what="the stopped shim")
        size = ticks.stat().st_size
        until(lambda: ticks.stat().st_size > size + 4, what="the command going on")
        shim.process.send_signal(signal.SIGCONT)
        (tmp_path / "stop").touch()
        assert shim.wait() == 3


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_f_goes_to_the_background_once_the_command_runs(server: str, tmp_path: Path) -> None:
    """As ssh -f: the shell gets its prompt back, the output still comes, and stdin is nobody's."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with open(tmp_path / "out", "wb") as out:
        done = rsh(server, "-f", "host", f"cat; read x <{fifo}; echo late", stdout=out, stderr=out)
    assert done.returncode == 0
    assert (tmp_path / "out").read_bytes() == b""
    fifo.write_text("go\n")
    until(lambda: (tmp_path / "out").read_bytes() == b"late\n", what="the output from the background")


def test_sixty_four_at_once_each_get_their_own(tmp_path: Path) -> None:
    """A launcher starts that many together, and the server's queue may be shorter than that."""
    address = str(tmp_path / "socket")
    with serving(address, ROUJIAMO_TEST_BACKLOG="4"):
        environment = environment_of(address)
        shims = [
            subprocess.Popen(
                [RSH, f"host{number}", f"cat; echo {number}; exit {number}"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
            )
            for number in range(64)
        ]
        results = [(shim.communicate(timeout=60)[0], shim.returncode) for shim in shims]
    assert results == [(b"%d\n" % number, number) for number in range(64)]


def test_an_abstract_socket_is_written_with_an_at_sign() -> None:
    """Inside a task: a sandbox's path is too long for a socket's address."""
    address = f"@roujiamo-test-{os.getpid()}"
    with serving(address):
        assert rsh(address, "host", "echo hi").stdout == b"hi\n"


def test_v_says_what_happens_and_q_takes_it_back(server: str) -> None:
    """stderr is silent by default."""
    verbose = rsh(server, "-v", "-t", "-p", "22", "host", "exit 3")
    lines = verbose.stderr.decode().splitlines()
    assert all(line.startswith("roujiamo-rsh: host: ") for line in lines)
    assert any("-t is passed over: no terminal" in line for line in lines)
    assert any("ended with status 3" in line for line in lines)
    assert rsh(server, "-vq", "host", "exit 3").stderr == b""
