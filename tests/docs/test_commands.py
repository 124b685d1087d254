"""Every command in the documents, run as it stands there: against one local cluster, with a real Open MPI.

A block is one script of `bash -e`. Only the master's address is the test's, and the program ./a.out is the example.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from roujiamo.session.configuration import parse
from tests.docs.blocks import Block, blocks
from tests.docs.pages import ROOT
from tests.jobs.conftest import MARKER
from tests.matrix.test_readme import lines as matrix_lines
from tests.support import (
    Program,
    mpi_environment,
    open_mpis,
    processes_with,
    requires_open_mpi,
    running,
    scaled,
    until,
)

SITUATIONS = ("", "while a run goes on")
# The blocks that are not run here, by their first line: and where they are instead.
ELSEWHERE = {
    "git clone URL-OF-THIS-REPOSITORY roujiamo": "needs the network; .ci/run tries the demo in a copy of the clone",
    "bin/demo": "sets up a venv in the clone; .ci/run runs it three times",
    "bin/test": "this is what runs the tests",
    "pip install --no-deps pymesos==0.3.15 && pip install six addict kazoo psutil": "needs the package index;"
    " tests/test_packaging.py holds the line to bin/.setup.sh, which runs it, and installs the package",
    "python -m tests.faults": "for hours; tests/faults, tests/chaos and tests/fuzz run samples",
}


def first_line(block: Block) -> str:
    return block.text.partition("\n")[0]


def commands() -> list[Block]:
    """The blocks to run: each text once, and none of those that the matrix's test runs with each MPI."""
    in_the_matrix = {line for _, line in matrix_lines()}
    found: dict[str, Block] = {}
    for block in blocks():
        is_known = set(block.text.splitlines()) <= in_the_matrix
        if block.language == "sh" and first_line(block) not in ELSEWHERE and not is_known:
            found.setdefault(block.text, block)
    return list(found.values())


class Reader:
    """Somebody who types what the documents say, in a folder of their own, with a cluster behind mesos-master:5050."""

    def __init__(self, folder: Path, master: str) -> None:
        self.folder = folder
        self.master = master
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._free_port = probe.getsockname()[1]
        mpi = Path(open_mpis()[0].mpiexec).parents[1]
        self.environment = {
            **os.environ,
            **mpi_environment(),
            "PATH": f"{folder / 'tools'}:{ROOT / 'bin'}:{mpi / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(folder / "tmp"),
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": "",
            "ROUJIAMO_PYTHON": sys.executable,
            # The MPIs of the tests lie beside the Python of the ranks.
            "ROUJIAMO_PREFIX": str(mpi),
            MARKER: folder.name,
        }
        for name in ("tmp", "tools", "work"):
            (folder / name).mkdir()
        self._program("tools/roujiamo", f'exec {sys.executable} -m roujiamo "$@"')
        self._program("work/a.out", f'exec {sys.executable} {ROOT}/roujiamo/examples/hello.py "$@"')

    def _program(self, name: str, text: str) -> None:
        (self.folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.folder / name).chmod(0o755)

    def types(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run a block's text; what it has started and left in the background is ended with it."""
        text = text.replace("mesos-master:5050", self.master).replace("5050", str(self._free_port))
        process = subprocess.Popen(
            ["bash", "-e", "-c", text],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder / "work",
            env=self.environment,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=scaled(120))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
            out, err = process.communicate(timeout=scaled(60))
            raise AssertionError(f"not over in time:\n{text}\n{out}\n{err}") from None
        return subprocess.CompletedProcess(text, process.returncode, out, err)

    @contextlib.contextmanager
    def run_that_goes_on(self) -> Iterator[Program]:
        """A job of two hosts, in the background, whose ranks run."""
        line = [ROOT / "bin" / "ompirun.sh", "-N", "2", self.master, "sh", "-c", "touch up; exec sleep 600"]
        with running(line, environment=self.environment, cwd=self.folder / "work") as program:
            until((self.folder / "work" / "up").exists, 60, "the ranks")
            yield program


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    """One for all blocks; in the end nothing of theirs is left."""
    # Not tmp_path: a unix socket's address must fit.
    folder = Path(tempfile.mkdtemp(prefix="rj-"))
    line = [sys.executable, "-m", "roujiamo", "local", "--port", "0", "--agents", "3", "--cpus", "8"]
    try:
        with running(line, ready="master ", environment={"PYTHONPATH": str(ROOT)}, seconds=60) as program:
            reader = Reader(folder, program.ready_line.partition("master ")[2].partition(",")[0])
            yield reader
            until(
                lambda: not processes_with(MARKER, folder.name), 20, "an end of what the blocks have started"
            )
            assert list((folder / "tmp").rglob("*")) == []
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@requires_open_mpi
@pytest.mark.parametrize("block", commands(), ids=lambda block: block.name)
def test_each_block_of_commands_runs_as_it_stands(reader: Reader, block: Block) -> None:
    """What is written for users to type works; one that fails is a document that is wrong, or a program."""
    with reader.run_that_goes_on() if block.situation == "while a run goes on" else contextlib.nullcontext():
        done = reader.types(block.text)
    assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"


def test_each_block_is_commands_or_says_what_it_is() -> None:
    """A block of no known kind would be run by nobody."""
    for block in blocks():
        assert block.language in ("sh", "text", "toml"), block.name
        assert block.situation in SITUATIONS, block.name
    shown = {first_line(block) for block in blocks() if block.language == "sh"}
    assert shown >= set(ELSEWHERE), "an exception for a block that is not there"


@pytest.mark.parametrize(
    "block", [block for block in blocks() if block.language == "toml"], ids=lambda block: block.name
)
def test_each_configuration_is_understood(block: Block) -> None:
    """As roujiamo.toml itself would be."""
    assert parse(block.text)
