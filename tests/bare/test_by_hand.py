"""`roujiamo-rsh HOST COMMAND` with only ROUJIAMO_MASTER, and the settings that size a session without a wrapper."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bare.conftest import ROOT, Bench, bench_with, names_of
from tests.support import children_of, python36, requires_python36, running, until


def test_by_hand_the_host_is_had_for_one_command(master: str) -> None:
    """As ssh: allocate, run, give back; the status is the command's."""
    with bench_with(master, None) as bench:
        result = bench.run("roujiamo-rsh", names_of(master)[0], "echo out; echo err >&2; exit 5")
        assert result.status == 5, result.err
        assert (result.out, result.err) == ("out\n", "err\n")


def test_by_hand_stdin_goes_through(bench_by_hand: Bench) -> None:
    """`tar c . | roujiamo-rsh agent1 tar x` is what people do."""
    line = "echo over | roujiamo-rsh agent1 'cat; hostname'"
    assert bench_by_hand.run("sh", "-c", line).out == "over\nagent1\n"


def test_by_hand_a_killed_shim_leaves_nothing(bench_by_hand: Bench) -> None:
    """The session belongs to it, and ends with it."""
    with bench_by_hand.started("roujiamo-rsh", "agent1", "echo started; sleep 100") as shim:
        until(lambda: "started" in shim.output(), 30, "the command")
        shim.process.kill()
        shim.wait()
        bench_by_hand.assert_nothing_left()


def test_by_hand_there_is_no_going_to_the_background(bench_by_hand: Bench) -> None:
    """With -f the shim that the session belongs to would be gone at once."""
    result = bench_by_hand.run("roujiamo-rsh", "-f", "agent1", "sleep 1")
    assert result.status == 255
    assert "-f needs a session that lasts" in result.err


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("ROUJIAMO_CPUS", "many", "ROUJIAMO_CPUS: 'many' is not an amount of 0 or more"),
        ("ROUJIAMO_MEM", "-1", "ROUJIAMO_MEM: '-1' is not an amount of 0 or more"),
        ("ROUJIAMO_CPUS", "0", "a host needs some cpus and some memory"),
        ("ROUJIAMO_SLOTS", "0", "ROUJIAMO_SLOTS: '0' is not a number from 1 to"),
        ("ROUJIAMO_TIMEOUT", "soon", "ROUJIAMO_TIMEOUT is soon, not a number of seconds"),
        ("ROUJIAMO_CALLBACK_PORT", "70000", "ROUJIAMO_CALLBACK_PORT: '70000' is not a port"),
        ("ROUJIAMO_ROLE", "a/../b", "role"),
        ("ROUJIAMO_SECRET_FILE", "/no/such/file", "/no/such/file"),
        ("ROUJIAMO_ENV", "MISSING_HERE", "there is no such variable here"),
        ("ROUJIAMO_MASTER", "local:0", "N in local:N is a number of agents"),
        ("ROUJIAMO_MASTER", "nowhere.invalid:5050", "nowhere.invalid"),
        ("ROUJIAMO_RUNTIME_DIR", "/proc/roujiamo", "set ROUJIAMO_RUNTIME_DIR to another"),
        ("ROUJIAMO_RUNTIME_DIR", "/tmp/" + "long" * 30, "too long for a unix socket"),
    ],
)
def test_a_wrong_setting_is_255_and_one_sentence(
    bench_by_hand: Bench, variable: str, value: str, sentence: str
) -> None:
    """Under a launcher it is one line among the launcher's own many."""
    environment = {"ROUJIAMO_TIMEOUT": "5", variable: value}
    result = bench_by_hand.run("roujiamo-rsh", "agent1", "true", **environment)
    assert result.status == 255
    assert sentence in result.err
    assert len(result.err.splitlines()) == 1, result.err


@requires_python36
def test_an_interpreter_that_is_too_old_to_start_a_session_says_so(bench_by_hand: Bench) -> None:
    """The shim itself runs on it, inside tasks; a session's own parts do not."""
    result = bench_by_hand.run("roujiamo-rsh", "agent1", "true", ROUJIAMO_PYTHON=str(python36()))
    assert result.status == 255
    assert "a session needs 3.11 or newer" in result.err
    assert len(result.err.splitlines()) == 1, result.err


PLANTER = """
import os, socket, sys
os.seteuid(65534)
s = socket.socket(socket.AF_UNIX)
folder = sys.argv[1]
os.mkdir(folder)
start = open(f"/proc/{sys.argv[2]}/stat").read().rpartition(")")[2].split()[19]
os.mkdir(f"{folder}/{sys.argv[2]}-{int(start) & 0xFFFFFFFF:08x}")
s.bind(f"{folder}/{sys.argv[2]}-{int(start) & 0xFFFFFFFF:08x}/socket")
s.listen()
os.chmod(s.getsockname(), 0o777)
print("planted", flush=True)
s.accept()[0].recv(1)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take another user's name")
def test_a_session_that_another_user_has_planted_is_refused(bench_by_hand: Bench) -> None:
    """The name of a launcher's session can be guessed, and the temporary folder is everybody's."""
    bench_by_hand.folder.chmod(0o777)
    launcher = bench_by_hand.folder / "mpiexec"
    launcher.write_text("#!/bin/sh\nread go\nroujiamo-rsh agent1 true\necho status $?\n")
    launcher.chmod(0o755)
    with bench_by_hand.started(str(launcher), stdin=subprocess.PIPE) as started:
        place = [str(bench_by_hand.folder / f"roujiamo-{os.geteuid()}"), str(started.pid)]
        with running([sys.executable, "-c", PLANTER, *place], ready="planted"):
            stdin = started.process.stdin
            assert stdin is not None
            stdin.write(b"go\n")
            stdin.flush()
            started.wait_for_line("status 255")
        assert "belongs to the user 65534, who is not you" in started.errors()
    shutil.rmtree(place[0])


LAUNCHER = f"""#!{sys.executable}
# A launcher as far as /proc shows, that starts its agents all at once.
import subprocess, sys
shims = [subprocess.Popen(["roujiamo-rsh", host, "echo started; sleep 5"]) for host in sys.argv[1:]]
print("asked", flush=True)
print("statuses", [shim.wait() for shim in shims], flush=True)
"""


def launcher_in(folder: Path) -> str:
    program = folder / "mpiexec"
    program.write_text(LAUNCHER)
    program.chmod(0o755)
    return str(program)


def test_many_shims_at_once_start_one_session(bench_by_hand: Bench) -> None:
    """A launcher calls up to 128 agents at the same moment."""
    hosts = [f"agent{number % 3 + 1}" for number in range(12)]
    with bench_by_hand.started(launcher_in(bench_by_hand.folder), *hosts) as launcher:
        until(lambda: launcher.output().count("started") == 12, 60, "twelve commands")
        assert len(bench_by_hand.processes("roujiamo.broker")) == 1
        assert len(bench_by_hand.frameworks()) == 1
        launcher.process.kill()
        launcher.wait()


def test_a_shim_that_is_killed_while_it_starts_the_session_is_followed_by_another(
    bench_by_hand: Bench,
) -> None:
    """The lock goes with its holders: there is one session in the end, never none and never two."""
    with bench_by_hand.started(launcher_in(bench_by_hand.folder), "agent1", "agent2", "agent3") as launcher:
        starter = until(lambda: bench_by_hand.processes("roujiamo/starter/"), 30, "the starter")[0]
        elected = [pid for pid in children_of(launcher.pid) if starter in children_of(pid)]
        for pid in elected:
            os.kill(pid, signal.SIGKILL)
        until(lambda: launcher.output().count("started") >= 2, 60, "the other two commands")
        assert len(bench_by_hand.processes("roujiamo.broker")) == 1
        launcher.process.kill()
        launcher.wait()


def test_a_killed_starter_is_an_error_and_leaves_nothing(bench_by_hand: Bench) -> None:
    """One part less, at the worst moment."""
    with bench_by_hand.started("roujiamo-rsh", "agent1", "true") as shim:
        starter = until(lambda: bench_by_hand.processes("roujiamo/starter/"), 30, "the starter")[0]
        os.kill(starter, signal.SIGKILL)
        status = shim.wait(30)
        # It may have been done with its work a moment before.
        assert status == 0 or (status == 255 and "no session could be started" in shim.errors())


def test_a_launcher_that_is_killed_while_the_session_starts_leaves_nothing(bench_by_hand: Bench) -> None:
    """mpiexec is most often cancelled when nothing seems to happen.

    A shim that had not yet looked for its launcher takes itself for one by hand; its command, a daemon whose launcher
    does not answer, ends by itself.
    """
    with bench_by_hand.started(launcher_in(bench_by_hand.folder), "agent1", "agent2") as launcher:
        until(lambda: bench_by_hand.processes("roujiamo/starter/"), 30, "the starter")
        launcher.process.kill()
        launcher.wait()
        bench_by_hand.assert_nothing_left()


def test_what_a_killed_broker_left_is_no_hindrance(bench_by_hand: Bench) -> None:
    """The launcher's next command gets a new session in the old one's place."""
    first, second = (
        "roujiamo-rsh agent1 'echo started; sleep 100'; echo first $?",
        "roujiamo-rsh agent1 'echo second'",
    )
    program = bench_by_hand.folder / "prterun"
    program.write_text(f"#!/bin/sh\n{first}\n{second}\nexec sleep 100\n")
    program.chmod(0o755)
    with bench_by_hand.started(str(program)) as launcher:
        until(lambda: "started" in launcher.output(), 30, "the command")
        (broker,) = bench_by_hand.processes("roujiamo.broker")
        os.kill(broker, signal.SIGKILL)
        until(lambda: "second" in launcher.output(), 40, "the second command")
        assert "first 255" in launcher.output()
        launcher.process.kill()
        launcher.wait()


def test_status_and_cancel_know_the_session(bench_by_hand: Bench) -> None:
    """It is one of the user's sessions as any other."""
    with bench_by_hand.started("roujiamo-rsh", "agent2", "echo started; sleep 100") as shim:
        until(lambda: "started" in shim.output(), 30, "the command")
        shown = bench_by_hand.run(sys.executable, "-m", "roujiamo", "status", PYTHONPATH=str(ROOT))
        assert "agent2: ready, 1 slot" in shown.out, shown
        ended = bench_by_hand.run(sys.executable, "-m", "roujiamo", "cancel", "--all", PYTHONPATH=str(ROOT))
        assert ended.status == 0, ended
        assert shim.wait(20) == 255
        assert "cancelled" in shim.errors()


def test_a_configuration_is_read_without_a_wrapper_too(bench_by_hand: Bench) -> None:
    """With the master in it no variable is needed; what is wrong in it is told with its line."""
    file = bench_by_hand.folder / "mine.toml"
    file.write_text(f'master = "{bench_by_hand.master}"\nname = "from-a-file"\ntimeout = 50\n')
    file.chmod(0o644)
    variables = {"ROUJIAMO_MASTER": "", "ROUJIAMO_CONFIG": str(file)}
    line = ("roujiamo-rsh", "agent1", 'echo "$ROUJIAMO_TOKEN" | wc -c; sleep 100')
    with bench_by_hand.started(
        "env", *(f"{name}={value}" for name, value in variables.items()), *line
    ) as shim:
        until(lambda: shim.output() != "", 30, "the command")
        assert bench_by_hand.frameworks() == ["roujiamo from-a-file"]
        timeouts = list(bench_by_hand.folder.glob("roujiamo*/*/timeout"))
        assert [each.read_text() for each in timeouts] == ["50"], "the shims wait as long as the session does"
        shim.process.terminate()
        shim.wait()
    file.write_text(f'master = "{bench_by_hand.master}"\nmemory = 3\n')
    result = bench_by_hand.run("roujiamo-rsh", "agent1", "true", **variables)
    assert result.status == 255
    assert f"{file}:2: memory: there is no such option" in result.err
    assert len(result.err.splitlines()) == 1, result.err


def test_a_time_limit_ends_a_session_without_a_wrapper(bench_by_hand: Bench) -> None:
    """Its time runs from its start, and the launcher hears why its agents end."""
    result = bench_by_hand.run("roujiamo-rsh", "agent1", "echo up; sleep 100", ROUJIAMO_TIME_LIMIT="0:03")
    assert (result.status, result.out) == (255, "up\n")
    assert "the time limit of 0:03 is reached" in result.err
