"""Failures explained, each one caused for real: what the host said and what to do, behind mpiexec's own words.

The hosts of a local cluster share this machine's files, so a host's MPI is broken by a copy that is: Open MPI is led to
it by --prefix, Hydra calls its daemons from the folder of its mpiexec. `agent2` alone fails where the daemon is a
script that looks where it is.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.conftest import Bench, Result, bench_around
from tests.local.conftest import cluster
from tests.support import Mpi, mpis, open_mpis
from tests.support.no_python import cluster_without_python3

A_MOMENT = ("sleep", "1")


@pytest.fixture(scope="module")
def master() -> Iterator[str]:
    """One cluster for this module."""
    with cluster("--agents", "2") as shared:
        yield shared.address


@pytest.fixture(params=mpis(), ids=lambda mpi: mpi.name)
def mpi(request: pytest.FixtureRequest) -> Mpi:
    """Each MPI there is."""
    found: Mpi = request.param
    return found


@pytest.fixture
def bench(mpi: Mpi) -> Iterator[Bench]:
    """A bench for commands with that MPI."""
    yield from bench_around(None)


@pytest.fixture
def bench_of_one() -> Iterator[Bench]:
    """A bench with whatever Open MPI there is."""
    if not open_mpis():
        pytest.skip("no Open MPI on this machine (bin/test brings it, ROUJIAMO_TEST_OPENMPI names one)")
    yield from bench_around(open_mpis()[0])


def broken(mpi: Mpi, folder: Path, how: str) -> list[str]:
    """The options that lead to a copy of the MPI whose daemon is not right."""
    copy = folder / "mpi"
    (copy / "bin").mkdir(parents=True)
    for entry in Path(mpi.prefix).iterdir():
        if entry.name != "bin" and how != "without its libraries":
            (copy / entry.name).symlink_to(entry)
    for entry in Path(mpi.prefix, "bin").iterdir():
        if entry.is_file() and entry.name.startswith(("mpiexec", "hydra", "orte", "prte", "mpirun")):
            shutil.copy(entry, copy / "bin" / entry.name)
    daemon = copy / "bin" / mpi.dialect.daemon
    if how == "not executable":
        daemon.chmod(0o644)
    elif how == "for another processor":
        # The header of a program for Arm (elf(5), EM_AARCH64).
        daemon.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\0\xb7\0" + bytes(200))
    elif how == "missing on agent2":
        real = f"{mpi.prefix}/bin/{daemon.name}"
        daemon.unlink()
        daemon.write_text(f'#!/bin/sh\n[ "$ROUJIAMO_HOST" != agent2 ] || real=/no\nexec $real{real} "$@"\n')
        daemon.chmod(0o755)
    if mpi.is_open_mpi:
        return ["--mpiexec", mpi.mpiexec, "--prefix", str(copy)]
    return ["--mpiexec", str(copy / "bin" / "mpiexec")]


def ours(result: Result) -> str:
    """What roujiamo said, behind all that the launcher said."""
    lines = result.err.splitlines()
    said = [number for number, line in enumerate(lines) if line.startswith("roujiamo: ")]
    assert said, result.err
    assert said == list(range(said[0], len(lines))), f"not at the end: {result.err}"
    return "\n".join(lines[said[0] :])


@pytest.mark.parametrize(
    ("how", "line", "word"),
    [
        ("missing on agent2", "{daemon}: not found|{daemon}: No such file", "is not at this path there"),
        ("not executable", "{daemon}: Permission denied", "cannot be executed there"),
        ("for another processor", "Exec format error", "another kind of processor"),
        ("without its libraries", "error while loading shared libraries", "a library that {daemon} needs"),
    ],
)
def test_a_daemon_that_cannot_start_is_explained(
    mpi: Mpi, bench: Bench, master: str, tmp_path: Path, how: str, line: str, word: str
) -> None:
    """The host's own line, its name and not its alias, and the remedy; and the status is the launcher's."""
    if how in ("for another processor", "without its libraries") and not mpi.is_open_mpi:
        pytest.skip("for Hydra the same as a daemon that is not executable, and it needs no libraries")
    result = bench.ompirun("-N", "2", "-n", "2", *broken(mpi, tmp_path, how), master, *A_MOMENT)
    assert result.status not in (0, 1), result.err
    said = ours(result)
    daemon = mpi.dialect.daemon
    host = "agent2" if how == "missing on agent2" else "agent[12]"
    assert re.search(rf"^roujiamo: {host} said: .*({line.format(daemon=daemon)})", said, re.MULTILINE), said
    assert re.search(rf"^roujiamo: {host}.*: .*{word.format(daemon=daemon)}", said, re.MULTILINE), said
    assert how != "missing on agent2" or "agent1" not in said, "the other host is well"
    assert "198.51.100." not in said


@pytest.mark.parametrize("program", ["/no/such/program", "no-such-program", "./not-executable"])
def test_a_program_that_a_host_cannot_start_is_explained(
    mpi: Mpi, bench: Bench, master: str, program: str
) -> None:
    """Launchers say it of a host's alias, or of none; where it would start, nothing is said."""
    if mpi.name not in ("Open MPI 4", "MPICH") and program != "/no/such/program":
        pytest.skip("seen with one MPI of each family")
    lying_there = bench.folder / "not-executable"
    lying_there.touch(0o644)
    result = bench.ompirun("-N", "2", "-n", "2", "--mpiexec", mpi.mpiexec, master, program)
    lying_there.unlink()
    assert result.status not in (0, 1), result.err
    assert re.search(r"^roujiamo: agent1 and agent2: .*" + re.escape(program), ours(result), re.MULTILINE)


def test_a_rank_that_fails_by_itself_is_explained_by_nothing(mpi: Mpi, bench: Bench, master: str) -> None:
    """Its status is mpiexec's; that the look around finds the hosts well is no news."""
    result = bench.ompirun(
        "-N",
        "2",
        "-n",
        "2",
        "--mpiexec",
        mpi.mpiexec,
        master,
        "sh",
        "-c",
        "sleep 1; nosuch 2>/dev/null; exit 3",
    )
    assert result.status != 0
    assert "roujiamo: " not in result.err


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a disk that is full")
def test_a_daemon_that_fails_without_a_word_is_explained_by_a_look_around(master: str) -> None:
    """prted gives 213 and says nothing; its host's temporary folder is what it could not write to."""
    five = next((mpi for mpi in mpis() if mpi.name == "Open MPI 5"), None)
    if five is None:
        pytest.skip("no Open MPI 5 on this machine")
    for bench in bench_around(None):
        disk = bench.folder / "disk"
        disk.mkdir()
        mounted = ["mount", "-t", "tmpfs", "-o", "size=4k", "none", str(disk)]
        if subprocess.run(mounted, capture_output=True).returncode:
            pytest.skip("no file system can be mounted here")
        try:
            (disk / "full").write_bytes(bytes(4096))
            options = ("--mpiexec", five.mpiexec, "--env", f"TMPDIR={disk}")
            result = bench.ompirun("-N", "2", "-n", "2", *options, master, *A_MOMENT)
        finally:
            subprocess.run(["umount", "-l", disk], check=True)
            disk.rmdir()
        assert result.status not in (0, 1), result.err
        assert f"nothing can be written to {disk} (the disk is full); name another" in ours(result)


def test_in_an_allocation_the_agent_itself_says_it(
    bench: Bench, mpi: Mpi, master: str, tmp_path: Path
) -> None:
    """There mpiexec is the user's own command: the sentence stands among mpiexec's words, with the host's name."""
    options = broken(mpi, tmp_path, "missing on agent2")
    mpiexec = [options[1], *options[2:]] if mpi.is_open_mpi else [options[1]]
    result = bench.alloc("-N", "2", "-n", "2", "--master", master, "--", *mpiexec, "-n", "2", *A_MOMENT)
    assert result.status not in (0, 1), result.err
    daemon = mpi.dialect.daemon
    assert re.search(rf"^roujiamo-rsh: agent2: .*not found; {daemon} is not at", result.err, re.MULTILINE), (
        result.err
    )
    assert "roujiamo-rsh: agent1" not in result.err


def test_without_a_python3_a_task_fails_with_a_remedy(bench_of_one: Bench, tmp_path: Path) -> None:
    """The agent's own PATH has none."""
    with cluster_without_python3(tmp_path, 1) as bare:
        result = bench_of_one.ompirun("-N", "1", "--timeout", "5", bare, *A_MOMENT)
    assert result.status in (1, 124), result.err
    assert "needs a python3 of version 3.6 or later" in result.err


@pytest.mark.parametrize(
    ("option", "line", "word"),
    [
        (("--user", "no-such-user"), "No such user 'no-such-user'", "must know the user"),
        (("--image", "no/such:1"), "Unsupported container image type", "--containerizer docker"),
        (("--uri", "file:///no/such/file"), "Failed to fetch all URIs", "what --uri names"),
    ],
)
def test_a_task_that_mesos_cannot_start_is_explained(
    bench_of_one: Bench, master: str, option: tuple[str, ...], line: str, word: str
) -> None:
    """Mesos's own words, the agent's name, and the remedy."""
    if option[0] == "--user" and os.geteuid() != 0:
        pytest.skip("without root all tasks run as who runs the cluster")
    result = bench_of_one.ompirun("-N", "1", "--timeout", "3", *option, master, *A_MOMENT)
    assert result.status in (1, 124), result.err
    assert re.search(rf"the task on agent[12] ended before it was ready: .*{line}.*; .*{word}", result.err), (
        result.err
    )


def test_a_task_that_is_destroyed_for_its_memory_is_explained(bench: Bench, mpi: Mpi) -> None:
    """A rank fills more than -m allows: the host, the limit, and the options that raise it; no page of statistics."""
    if mpi.name != "Open MPI 4":
        pytest.skip("seen with one MPI: it is the agent that ends the task")
    fills = (sys.executable, "-c", "import time; held = b'x' * (256 << 20); time.sleep(60)")
    options = ("-N", "1", "-n", "1", "-m", "32", "--overhead-mem", "96", "--mpiexec", mpi.mpiexec)
    with cluster("--agents", "1", "--enforce-memory") as enforcing:
        result = bench.ompirun(*options, enforcing.address, *fills)
        assert result.status not in (0, 124), result.err
        sentence = (
            r"^roujiamo.*: the task on agent1 ended: Memory limit exceeded: Requested: 128MB Maximum Used: \d+[KM]B; "
            r"it needed more memory than it had; give it more: -m MB .*, --overhead-mem MB"
        )
        assert re.search(sentence, result.err, re.MULTILINE), result.err
        assert "STATISTICS" not in result.err
        # The cluster goes on, and nothing of the task does.
        assert bench.left_processes() == []


def test_a_daemon_of_another_version_is_explained(master: str, tmp_path: Path) -> None:
    """Open MPI 4's does not know what the mpiexec of 5 tells it."""
    versions = {mpi.name: mpi for mpi in mpis()}
    if not {"Open MPI 4", "Open MPI 5"} <= versions.keys():
        pytest.skip("needs Open MPI 4 and 5")
    five, four = versions["Open MPI 5"], versions["Open MPI 4"]
    daemon = tmp_path / "mpi" / "bin" / "prted"
    daemon.parent.mkdir(parents=True)
    daemon.write_text(f'#!/bin/sh\nexec {four.prefix}/bin/orted "$@"\n')
    daemon.chmod(0o755)
    options = ("--mpiexec", five.mpiexec, "--prefix", str(tmp_path / "mpi"))
    for bench in bench_around(None):
        result = bench.ompirun("-N", "2", "-n", "2", *options, master, *A_MOMENT)
        assert result.status not in (0, 1), result.err
        assert re.search(r"^roujiamo: agent[12] said: .*unknown option", ours(result), re.MULTILINE)
        assert "prted does not know what the mpiexec here tells it: it has another version" in result.err
