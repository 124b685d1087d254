"""Remote commands: what sshd would do."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from roujiamo.protocol.frames import INITIAL_WINDOW, MAX_DATA
from roujiamo.proxy.command import WIDE_PIPE
from roujiamo.system.processes import descendants, running_processes
from tests.proxy.broker import Bench
from tests.support import is_alive, until

STUBBORN = "trap '' TERM; echo $$; while :; do sleep 1000; done"


def _pids(text: bytes) -> list[int]:
    return [int(word) for word in text.split()]


def test_both_streams_and_the_status_arrive(host: Bench) -> None:
    """The first thing a launcher needs of its rsh agent."""
    remote = host.broker.run("echo out; echo err >&2; exit 7")
    assert (remote.stdout, remote.stderr, remote.status) == (b"out\n", b"err\n", 7)


def test_the_end_by_a_signal_is_told_as_one(host: Bench) -> None:
    """The shim makes 128+n of it, as a shell does; a real-time signal has no name and comes as that number."""
    remote = host.broker.run("kill -9 $$")
    assert (remote.status, remote.signal) == (None, b"KILL")
    remote = host.broker.run("kill -40 $$")
    assert (remote.status, remote.signal) == (168, None)


def test_a_shell_that_finds_no_program_says_127(host: Bench) -> None:
    """Launchers tell "no orted on that host" by it."""
    remote = host.broker.run("/nonexistent/orted")
    assert remote.status == 127
    assert b"/nonexistent/orted" in remote.stderr


def test_stdin_reaches_the_command_and_its_end_too(host: Bench) -> None:
    """`cat` ends when its input does, while its output is still open."""
    remote = host.broker.run("cat; echo done", stdin=b"some\0bytes\xff\n")
    assert remote.stdout == b"some\0bytes\xff\ndone\n"


def test_input_that_nobody_reads_does_not_stop_the_command(host: Bench) -> None:
    """As under sshd it is taken and dropped once the command has closed its end."""
    remote = host.broker.run("exec 0<&-; sleep 0.1; echo ok", stdin=bytes(3 * INITIAL_WINDOW))
    assert (remote.stdout, remote.status) == (b"ok\n", 0)


def test_output_comes_while_the_command_runs(host: Bench) -> None:
    """A daemon reports its contact address and lives on."""
    remote = host.broker.open("echo up; read line; echo got $line")
    host.broker.until(lambda: remote.stdout == b"up\n")
    remote.write(b"word\n")
    host.broker.until(lambda: remote.closed)
    assert remote.stdout == b"up\ngot word\n"


def test_the_end_of_stdout_alone_is_told(host: Bench) -> None:
    """So that a reader of a pipe ends before the command does."""
    remote = host.broker.open("exec 1>&-; read line; exit 4")
    host.broker.until(lambda: remote.channel.receive_eof)
    assert not remote.closed
    remote.write(b"\n")
    host.broker.until(lambda: remote.closed)
    assert remote.status == 4


def test_the_status_comes_before_a_background_child_lets_go_of_the_streams(host: Bench) -> None:
    """sshd sends the status at once, and closes when both streams have ended."""
    remote = host.broker.open("exec 3<&0; (read line <&3; echo late) & exit 5")
    host.broker.until(lambda: remote.status == 5)
    assert not remote.closed
    remote.write(b"\n")
    host.broker.until(lambda: remote.closed)
    assert remote.stdout == b"late\n"


def test_the_environment_is_the_tasks_and_what_sshd_would_set(make_bench: Callable[..., Bench]) -> None:
    """Open MPI 5's prted dies without HOME; the secrets of the first contact and the locale of Python stay out."""
    host = make_bench(
        environment={"FOO": "bar baz\n=", "ODD": b"\xff".decode("utf-8", "surrogateescape")},
        task_environment={"USER": "kept"},
    ).ready()
    text = host.broker.run("cat /proc/self/environ; pwd").stdout
    *entries, cwd = text.split(b"\0")
    found = dict(entry.split(b"=", 1) for entry in entries)
    assert cwd.strip() == os.fsencode(host.task.sandbox)
    assert found[b"FOO"] == b"bar baz\n="
    assert found[b"ODD"] == b"\xff"
    assert found[b"USER"] == b"kept"
    assert found[b"PATH"].startswith(os.fsencode(host.task.folder) + b"/bin:")
    assert found[b"ROUJIAMO_SOCKET"].startswith(b"@roujiamo-")
    assert found[b"ROUJIAMO_TOKEN"] != host.broker.token.hex().encode()
    assert found[b"ROUJIAMO_HOST"] == b"agent1.example"
    assert set(found) - {b"OLDPWD", b"_", b"SHLVL"} == {
        *(b"FOO", b"ODD", b"HOME", b"USER", b"LOGNAME", b"SHELL", b"PATH", b"PWD", b"MESOS_SANDBOX"),
        *(b"ROUJIAMO_SOCKET", b"ROUJIAMO_TOKEN", b"ROUJIAMO_HOST", b"ROUJIAMO_COMMAND"),
    }


def test_the_host_is_described(host: Bench) -> None:
    """The broker names it, and tells the launcher which interface the agents reach."""
    facts = host.broker.facts
    assert facts["hostname"] == os.uname().nodename
    assert facts["sandbox"] == str(host.task.sandbox)
    assert facts["address"] == "127.0.0.1"
    assert facts["interface"] == "lo"
    assert facts["uid"] == str(os.getuid())
    assert is_alive(int(facts["pid"]))


def test_each_command_starts_with_a_clean_slate(host: Bench) -> None:
    """A session of its own, no signal blocked or ignored, no descriptor but the three, the limits of the task."""
    text = host.broker.run(
        "grep -E 'SigBlk|SigIgn' /proc/self/status; ls /proc/self/fd | wc -l; ulimit -Sn;"
        " set -- $(cat /proc/$$/stat); echo $$ $6"
    ).stdout.decode()
    blocked, ignored, descriptors, limit, ids = text.splitlines()
    assert int(blocked.split()[1], 16) == 0
    # 32 and 33 belong to the C library.
    assert int(ignored.split()[1], 16) & 0x7FFF_FFFF == 0
    assert int(descriptors) == 4
    assert limit == str(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    assert len(set(ids.split())) == 1


def test_a_command_as_long_as_the_system_takes_runs(host: Bench) -> None:
    """128 KiB for one argument; an orted's command line has some hundred bytes."""
    remote = host.broker.run("exit 3 #" + "x" * 131_000)
    assert remote.status == 3


def test_a_command_that_cannot_be_started_is_refused_with_the_reason(
    make_bench: Callable[..., Bench],
) -> None:
    """The user must not have to look into the sandbox for it."""
    host = make_bench(environment={"LARGE": "x" * 200_000}).ready()
    remote = host.broker.run("true")
    assert remote.failure == (
        126,
        "the command and its environment are too long for this system; shorten them",
    )


def test_a_zero_byte_in_a_command_is_refused(host: Bench) -> None:
    """No program can be given one."""
    remote = host.broker.run("echo a\0b")
    assert remote.failure is not None
    assert remote.failure[0] == 255


def test_more_commands_than_allowed_are_refused(make_bench: Callable[..., Bench]) -> None:
    """A loop in a script must not take the host down; the others go on."""
    host = make_bench(settings={"max_commands": 2}).ready()
    first, second, third = (host.broker.open("read line; exit 9") for _ in range(3))
    host.broker.until(lambda: third.closed)
    assert third.failure == (255, "2 commands run there already; try again later")
    for remote in (first, second):
        remote.write(b"\n")
    host.broker.until(lambda: first.closed and second.closed)
    assert (first.status, second.status) == (9, 9)


def test_a_host_out_of_descriptors_refuses_and_goes_on(make_bench: Callable[..., Bench]) -> None:
    """Each command takes three; those that run must not notice, and room that comes back is used."""
    host = make_bench(before="ulimit -n 64; ").ready()
    remotes = [host.broker.open("read line; exit 9") for _ in range(16)]
    host.broker.until(lambda: all(remote.closed or remote.channel.state == "open" for remote in remotes))
    refused = [remote for remote in remotes if remote.closed]
    running = [remote for remote in remotes if not remote.closed]
    assert len(running) >= 5
    assert {remote.failure for remote in refused} == {
        (255, "cannot start a process there: Too many open files; a limit of that host may be too low")
    }
    host.broker.cut()
    host.broker.until(lambda: host.broker.resumes)
    for remote in running:
        remote.write(b"\n")
    host.broker.until(lambda: all(remote.status == 9 for remote in running))
    assert host.broker.run("ulimit -n; exit 3").stdout == b"64\n"


def test_128_commands_run_at_once(host: Bench) -> None:
    """As many as Open MPI starts at a time, each with its own streams and status."""
    remotes = [host.broker.open(f"read a; echo {i} $a; echo {i} >&2; exit {i}") for i in range(128)]
    host.broker.until(lambda: all(remote.channel.state == "open" for remote in remotes))
    for remote in remotes:
        remote.write(b"word\n", end=True)
    host.broker.until(lambda: all(remote.closed for remote in remotes), 60)
    for i, remote in enumerate(remotes):
        assert (remote.stdout, remote.stderr, remote.status) == (b"%d word\n" % i, b"%d\n" % i, i)


def _peak(pid: int) -> int:
    """The most memory a process has used, in bytes (proc(5), VmHWM)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmHWM")


def test_200_megabytes_go_through_with_flat_memory(host: Bench) -> None:
    """The worker keeps windows, not streams."""
    host.broker.run("true")
    before = _peak(host.worker())
    size = 200_000_000
    remote = host.broker.open(f"head -c {size} /dev/zero")
    remote.keep = False
    host.broker.until(lambda: remote.closed, 120)
    assert remote.received == size
    assert _peak(host.worker()) - before < 32 << 20


def test_the_pipes_of_a_command_that_moves_much_get_wide(host: Bench) -> None:
    """Wide pipes spare waiting for each other; but what a user's pipes may hold is bounded, so most are left alone."""
    # fcntl(2): F_GETPIPE_SZ
    size = "import fcntl, sys; print(fcntl.fcntl({0}, 1032), file=sys.stderr)"
    script = "import sys; sys.stdout.write('x' * 1000000); sys.stdout.flush(); " + size.format(1)
    much, little = (host.broker.run(f'{sys.executable} -c "{each}"') for each in (script, size.format(1)))
    assert (int(much.stderr), int(little.stderr)) == (WIDE_PIPE, MAX_DATA)
    assert len(much.stdout) == 1_000_000
    reader = f'sleep 0.2; head -c 500000 >/dev/null; {sys.executable} -c "{size.format(0)}"'
    assert int(host.broker.run(reader, stdin=bytes(1_000_000)).stderr) == WIDE_PIPE


def test_a_reader_that_stops_holds_only_its_own_command_back(host: Bench) -> None:
    """One channel's full window must not cost the others anything, nor memory."""
    before = _peak(host.worker())
    slow = host.broker.open("head -c 50000000 /dev/zero; exit 6")
    slow.keep = False
    slow.consume = False
    host.broker.until(lambda: slow.received == INITIAL_WINDOW)
    assert host.broker.run("echo others").stdout == b"others\n"
    assert slow.received == INITIAL_WINDOW
    slow.consume = True
    slow.channel.consume(INITIAL_WINDOW)
    slow.flush()
    host.broker.until(lambda: slow.closed, 60)
    assert (slow.received, slow.status) == (50_000_000, 6)
    assert _peak(host.worker()) - before < 32 << 20


def test_a_broker_that_reads_nothing_costs_bounded_memory(host: Bench) -> None:
    """Commands wait in their pipes then; nothing is lost when it reads again."""
    before = _peak(host.worker())
    remotes = [host.broker.open("head -c 3000000 /dev/zero", window=4_000_000) for _ in range(16)]
    host.broker.until(lambda: all(remote.channel.state == "open" for remote in remotes))
    host.broker.reads = False
    children = [
        one.pid for one in descendants(host.worker(), running_processes()) if one.parent == host.worker()
    ]
    until(lambda: all(_state(pid) == "S" for pid in children), what="commands that wait in their write")
    host.broker.reads = True
    host.broker.until(lambda: all(remote.closed for remote in remotes), 60)
    assert [remote.received for remote in remotes] == [3_000_000] * 16
    assert _peak(host.worker()) - before < 48 << 20


def test_signals_go_to_the_commands_process_group(host: Bench) -> None:
    """What Ctrl-C would reach at that host's terminal; a shell that traps them goes on."""
    remote = host.broker.open(
        "for name in INT QUIT USR1 USR2; do trap \"echo $name\" $name; done; trap 'exit 3' ALRM;"
        " echo up; while :; do sleep 0.05; done"
    )
    heard = b"up\n"
    for name in (b"INT", b"QUIT", b"USR1", b"USR2"):
        host.broker.until(lambda heard=heard: remote.stdout == heard)  # type: ignore[misc]
        remote.send_signal(name)
        heard += name + b"\n"
    host.broker.until(lambda: remote.stdout == heard)
    remote.send_signal(b"ALRM")
    host.broker.until(lambda: remote.closed)
    assert remote.status == 3


def test_sigterm_reaches_the_whole_tree(host: Bench) -> None:
    """A shell that is ended leaves its children running; nobody would end them afterwards."""
    remote = host.broker.open("sleep 1000 & echo $!; setsid sleep 1000 & echo $!; echo $$; wait")
    host.broker.until(lambda: len(remote.stdout.split()) == 3)
    pids = _pids(remote.stdout)
    remote.send_signal(b"TERM")
    host.broker.until(lambda: remote.closed)
    assert remote.signal == b"TERM"
    until(lambda: not any(map(is_alive, pids)), what="the tree's end")


def test_who_ignores_sigterm_is_killed_after_the_grace(make_bench: Callable[..., Bench]) -> None:
    """A stubborn rank must not keep its host's slot."""
    host = make_bench(settings={"kill_grace_seconds": 0.3}).ready()
    remote = host.broker.open(STUBBORN)
    host.broker.until(lambda: remote.stdout)
    remote.send_signal(b"TERM")
    host.broker.until(lambda: remote.closed)
    assert remote.signal == b"KILL"


def test_sigkill_is_immediate_and_for_the_tree(host: Bench) -> None:
    """The last means the user has."""
    remote = host.broker.open(f'sh -c "{STUBBORN}" & wait')
    host.broker.until(lambda: remote.stdout)
    remote.send_signal(b"KILL")
    host.broker.until(lambda: remote.closed)
    assert remote.signal == b"KILL"
    until(lambda: not is_alive(_pids(remote.stdout)[0]), what="the child's end")


def test_a_shim_that_is_gone_takes_its_command_with_it(host: Bench) -> None:
    """CLOSE before the exit status: nobody is left to end it."""
    remote = host.broker.open(f"sleep 1000 & echo $!; {STUBBORN}")
    host.broker.until(lambda: len(remote.stdout.split()) == 2)
    pids = _pids(remote.stdout)
    remote.close()
    host.broker.until(lambda: not any(map(is_alive, pids)), what="their end")


def test_a_daemon_that_forked_away_lives_until_the_session_ends(host: Bench) -> None:
    """As under sshd; launchers without an attached daemon count on it."""
    remote = host.broker.run("(setsid sh -c 'echo $$; exec sleep 1000' 2>&1 & ) | head -1")
    daemon = _pids(remote.stdout)[0]
    host.broker.run("true")
    assert is_alive(daemon)
    host.broker.say_goodbye()
    assert host.wait_for_end() == 0
    assert not is_alive(daemon)


def test_one_channels_broken_rules_end_only_that_channel(host: Bench) -> None:
    """A confused shim is no reason to end the other commands of the host."""
    good = host.broker.open("read line; exit 8")
    bad = host.broker.open("sleep 1000", window=10)
    host.broker.until(lambda: good.channel.state == bad.channel.state == "open")
    assert host.broker.link is not None
    host.broker.link.send_frame(8, bad.channel.number, b"NOSUCH")
    host.broker.until(lambda: bad.closed)
    assert bad.failure is not None
    assert bad.failure[0] == 255
    good.write(b"\n")
    host.broker.until(lambda: good.closed)
    assert good.status == 8


def test_a_stopped_command_can_be_continued(host: Bench) -> None:
    """Job control of the far end goes through the same signals."""
    remote = host.broker.open("echo $$; kill -STOP $$; echo on")
    host.broker.until(lambda: remote.stdout)
    pid = _pids(remote.stdout)[0]
    host.broker.until(lambda: _state(pid) == "T")
    remote.send_signal(b"CONT")
    host.broker.until(lambda: remote.closed)
    assert remote.stdout.endswith(b"on\n")


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_memory_may_be_locked_as_far_as_the_host_allows(make_bench: Callable[..., Bench]) -> None:
    """Fabrics lock what they register: who may (CAP_SYS_RESOURCE) lifts the limit, others go up to the hard one."""
    before = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, before[1]))
    try:
        as_it_was, raised = (make_bench(settings={"unlocks_memory": each}).ready() for each in (False, True))
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, before)
    assert as_it_was.broker.run("ulimit -S -l").stdout == b"64\n"
    soft, hard = raised.broker.run("ulimit -S -l; ulimit -H -l").stdout.decode().split()
    assert soft == hard
    assert soft in ("unlimited", str(before[1] // 1024))
