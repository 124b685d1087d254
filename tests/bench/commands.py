"""One remote command, the shim's start-up, throughput, latency: `roujiamo-rsh` against ssh, on one host.

Imported by the benchmarks only.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.costs import Cost, cpu_of, run
from tests.bench.figures import Result, alternate, ratio
from tests.bench.places import SHIM, Ground, Held, Ssh, ground, held, sshds, why_no_sshd
from tests.support import running

RELAY = str(Path(__file__).with_name("relay.py"))


def one_command(small: bool) -> Result:
    """`roujiamo-rsh HOST true` against `ssh HOST true`."""
    result = Result()
    with ground(1) as place, held(place, 1) as session, _ssh(place, result) as ssh:
        shim = [*place.launch, SHIM, session.hosts[0], "true"]
        cases: dict[str, Callable[[], Cost]] = {"ours": lambda: run(shim, session.environment)}
        if ssh is not None:
            line = [*ssh.line(1), "true"]
            cases["ssh"] = lambda: run(line, place.environment)
        # Entering the namespace costs both the same, and is no part of either.
        if place.launch:
            cases["namespace"] = lambda: run([*place.launch, "true"], place.environment)
        given = alternate(cases, 3 if small else 25)
    entering = _medians(given.pop("namespace")) if "namespace" in given else Cost(0.0, 0.0)
    wall = {name: [(each.wall - entering.wall) * 1e3 for each in costs] for name, costs in given.items()}
    cpu = {name: [(each.cpu - entering.cpu) * 1e3 for each in costs] for name, costs in given.items()}
    for name in given:
        result.add(f"{name}: wall", "ms", *wall[name])
        result.add(f"{name}: CPU of the client", "ms", *cpu[name])
    if "ssh" in given:
        result.expect("wall, of ssh's", ratio(wall["ours"], wall["ssh"]), 0.10)
        result.expect("client CPU, of ssh's", ratio(cpu["ours"], cpu["ssh"]), 0.15)
    return result


def start_up(small: bool) -> Result:
    """Launcher, interpreter and imports against the bare interpreter: a command that finds no session."""
    result = Result()
    python = os.path.realpath(sys.executable)
    environment = {"PATH": os.environ["PATH"], "ROUJIAMO_PYTHON": python}
    given = alternate(
        {
            "ours": lambda: run([SHIM, "host", "true"], environment, status=255),
            "python3 -I -S": lambda: run([python, "-I", "-S", "-c", "pass"], environment),
        },
        3 if small else 101,
    )
    for name, costs in given.items():
        result.add(f"{name}: wall", "ms", *(each.wall * 1e3 for each in costs))
        result.add(f"{name}: CPU", "ms", *(each.cpu * 1e3 for each in costs))
    walls = [[each.wall for each in given[name]] for name in given]
    result.expect("wall, of the interpreter's", ratio(*walls), 1.6)
    return result


def throughput(small: bool) -> Result:
    """A gigabyte to a host and back, and whose CPU that takes; in several sessions.

    One connection carries all of a session, an ssh has its own: what that does with its window (BBR on some kernels)
    lasts as long as it, and is worth a tenth of the rate either way.
    """
    result = Result()
    size = 1 << 24 if small else 1 << 30
    rates: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    with ground(1) as place, _ssh(place, result) as ssh:
        for _ in range(1 if small else 4):
            with held(place, 1) as session:
                _moved(session, place, ssh, size, 1 if small else 2, rates, cpu)
    for name, values in rates.items():
        result.add(name, "MB/s", *values)
    for name, values in cpu.items():
        result.add(name, "s", *values)
    if ssh is not None:
        for way in ("there", "back"):
            result.expect(
                f"{way}, of ssh's", ratio(rates[f"{way}, ours"], rates[f"{way}, ssh"]), 1.0, at_least=True
            )
    return result


def _moved(
    session: Held,
    place: Ground,
    ssh: Ssh | None,
    size: int,
    rounds: int,
    rates: dict[str, list[float]],
    cpu: dict[str, list[float]],
) -> None:
    """Move so many bytes each way, so many times; add MB/s to `rates` and seconds to `cpu`."""
    broker, worker = session.broker, _worker(session)
    ours = [*place.launch, SHIM, session.hosts[0]]

    def through_us(way: str) -> float:
        before = cpu_of(broker), cpu_of(worker)
        cost = _move(way, ours, session.environment, size)
        spent = (cost.cpu, cpu_of(broker) - before[0], cpu_of(worker) - before[1])
        for name, seconds in zip(("shim", "broker", "proxy"), spent, strict=True):
            cpu.setdefault(f"{way}, CPU of the {name}", []).append(seconds)
        return size / cost.wall / 1e6

    for way in ("there", "back"):
        cases = {"ours": lambda way=way: through_us(way)}
        if ssh is not None:
            theirs = ssh.line(1)
            cases["ssh"] = lambda way=way, line=theirs: (  # type: ignore[misc]
                size / _move(way, line, place.environment, size).wall / 1e6
            )
        for name, values in alternate(cases, rounds).items():
            rates.setdefault(f"{way}, {name}", []).extend(values)


def _move(way: str, line: list[str], environment: dict[str, str], size: int) -> Cost:
    if way == "back":
        return run([*line, f"head -c {size} /dev/zero"], environment)
    with subprocess.Popen(["head", "-c", str(size), "/dev/zero"], stdout=subprocess.PIPE) as source:
        assert source.stdout is not None
        return run([*line, "cat >/dev/null"], environment, stdin=source.stdout)


def latency(small: bool) -> Result:
    """One byte there and back through a running remote command, against two plain relays between the same hosts."""
    result = Result()
    rounds, repeat = (20, 1) if small else (500, 21)
    with ExitStack() as stack:
        place = stack.enter_context(ground(1))
        session = stack.enter_context(held(place, 1))
        ssh = stack.enter_context(_ssh(place, result))
        lines = {"ours": [*place.launch, SHIM, session.hosts[0], "cat"]}
        if ssh is not None:
            lines["ssh"] = [*ssh.line(1), "cat"]
        echoes = {name: _echo(stack, line, session.environment) for name, line in lines.items()}
        echoes["two relays"] = _relays(stack, place)
        given = alternate(
            {name: lambda echo=echo: _round_trip(echo, rounds) for name, echo in echoes.items()}, repeat
        )
    for name, seconds in given.items():
        result.add(f"{name}: round trip", "µs", *(each * 1e6 for each in seconds))
    result.expect("ours, of two relays'", ratio(given["ours"], given["two relays"]), 2.0)
    return result


Echo = Callable[[], None]


def _echo(stack: ExitStack, line: list[str], environment: dict[str, str]) -> Echo:
    process = stack.enter_context(
        subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=0)
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stack.callback(process.stdin.close)
    to, back = process.stdin.fileno(), process.stdout.fileno()

    def echo() -> None:
        os.write(to, b"x")
        assert os.read(back, 1) == b"x"

    return echo


def _relays(stack: ExitStack, place: Ground) -> Echo:
    """A client, a relay on the launch host, another on the first host, and `cat` behind that: as ours goes."""
    client, here = _connected(stack)
    end, there = _connected(stack)
    python = [sys.executable, "-I", "-S", RELAY]
    address, inside = "127.0.0.1", []
    if place.network is not None:
        address, inside = place.address(1), ["ip", "netns", "exec", place.network.agents[0]]
    second = stack.enter_context(
        running([*inside, *python, "listen", address], ready="listening", stdin=there)
    )
    line = [*place.launch, *python, "connect", address, second.ready_line.split()[1]]
    stack.enter_context(running(line, ready="connected", stdin=here))
    cat = stack.enter_context(subprocess.Popen(["cat"], stdin=end, stdout=end))
    stack.callback(cat.wait)
    stack.callback(client.close)
    for handed in (here, there, end):
        handed.close()

    def echo() -> None:
        client.send(b"x")
        assert client.recv(1) == b"x"

    return echo


def _connected(stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = stack.enter_context(socket.create_connection(server.getsockname()))
        other = stack.enter_context(server.accept()[0])
    for end in (one, other):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one, other


def _round_trip(echo: Echo, rounds: int) -> float:
    """Seconds of one round trip: the median of so many."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        echo()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


@contextmanager
def _ssh(place: Ground, result: Result) -> Iterator[Ssh | None]:
    reason = why_no_sshd()
    if reason is not None:
        result.notes.append(f"not compared with ssh: {reason}")
        yield None
        return
    with sshds(place, 1) as ssh:
        yield ssh


def _medians(costs: list[Cost]) -> Cost:
    return Cost(*(statistics.median(values) for values in zip(*costs, strict=True)))


def _worker(session: Held) -> int:
    """The pid of the one proxy's worker: what a remote command is a child of."""
    shim = shutil.which(SHIM)
    assert shim is not None
    answer = subprocess.run(
        [shim, session.hosts[0], "echo $PPID"],
        env=session.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(answer.stdout)
