"""`roujiamo help`: the list, each command and page, the pager, and the man page."""

from __future__ import annotations

import io
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from roujiamo.cli import programs
from roujiamo.cli.grammar import Command
from roujiamo.cli.help_command import topics
from roujiamo.cli.markdown import for_terminal
from roujiamo.cli.pager import page
from roujiamo.session.options import OPTIONS
from tests.support import until

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "roujiamo" / "docs"


def roujiamo(
    *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "roujiamo", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )


def test_without_a_topic_the_commands_and_pages_are_listed() -> None:
    """One screen that says what there is to read."""
    answer = roujiamo("help")
    assert answer.returncode == 0
    listed = re.findall(r"^  (\S+) {2,}\S", answer.stdout, re.MULTILINE)
    assert listed == [*(command.word for command in programs()[0].commands), *topics()]
    assert all(len(line) <= 80 for line in answer.stdout.splitlines())


def test_every_page_of_the_documents_is_a_topic_as_it_stands() -> None:
    """By its name, with or without .md; in a pipe there is no pager, whatever PAGER says."""
    assert set(topics()) == {path.stem for path in DOCS.glob("*.md")}
    for name in ("launchers", "launchers.md"):
        answer = roujiamo("help", name, environment={"PAGER": "false"})
        assert answer.returncode == 0
        assert answer.stdout == (DOCS / "launchers.md").read_text()


def test_what_stands_behind_rsh_is_the_shims() -> None:
    """Its options too, which argparse would take for its own."""
    answer = roujiamo("rsh", "-V")
    assert answer.returncode == 0
    assert answer.stdout.startswith("roujiamo-rsh ")
    answer = roujiamo("rsh", "-n", "-l", "user", "somewhere", "true")
    assert answer.returncode == 255
    assert answer.stderr.startswith("roujiamo-rsh: ")


@pytest.mark.parametrize("command", [command.word for command in programs()[0].commands])
def test_help_on_a_command_is_what_its_option_prints(command: str) -> None:
    """Two ways to the same text."""
    wanted = roujiamo(command, "--help")
    assert wanted.returncode == 0
    assert roujiamo("help", command).stdout == wanted.stdout


def test_a_topic_that_is_not_there_is_answered_with_the_nearest() -> None:
    """One sentence, on stderr, and the status of a mistake."""
    answer = roujiamo("help", "launcher")
    assert answer.returncode == 2
    assert answer.stderr == "roujiamo: there is no help on launcher; did you mean launchers?\n"
    answer = roujiamo("help", "--man", "run")
    assert answer.returncode == 2
    assert len(answer.stderr.splitlines()) == 1


def test_a_pager_that_no_shell_would_start_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is shown all the same."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("PAGER", "less -P'x")
    monkeypatch.setenv("TERM", "xterm")
    page("text\n", stream := Terminal())
    assert stream.getvalue() == "text\n"


def test_on_a_terminal_a_page_is_shown_by_the_users_pager(tmp_path: Path) -> None:
    """And only there."""
    pager = tmp_path / "pager"
    seen = tmp_path / "seen"
    pager.write_text('#!/bin/sh\ncat >"$1.new" && mv "$1.new" "$1"\n')
    pager.chmod(0o755)
    terminal, far_end = pty.openpty()
    try:
        shown = subprocess.run(
            [sys.executable, "-m", "roujiamo", "help", "faults"],
            stdin=far_end,
            stdout=far_end,
            stderr=far_end,
            timeout=60,
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "PAGER": f"{pager} {seen}"},
        )
    finally:
        os.close(far_end)
        os.close(terminal)
    assert shown.returncode == 0
    until(seen.exists)
    page = (DOCS / "faults.md").read_text()
    assert seen.read_text() == for_terminal(page, 80)


@pytest.fixture(scope="module")
def man_page() -> str:
    answer = roujiamo("help", "--man")
    assert (answer.returncode, answer.stderr) == (0, "")
    return answer.stdout


def everything() -> list[Command]:
    return [command for program in programs() for command in program.with_all_below()]


def test_the_man_page_has_every_command_option_and_variable(man_page: str) -> None:
    """It is made from the parsers, and so complete; this holds it to that."""
    plain = man_page.replace(r"\-", "-")
    for command in everything()[1:]:
        assert f'.SS "{command.name}"' in plain
        for flag in command.flags:
            if flag.is_shown and flag.names[-1] not in ("--help", "--version"):
                assert all(rf"\fB{name}\fR" in plain for name in flag.names), flag
    assert all(f"[${option.variable}]" in plain for option in OPTIONS)
    assert all(f"roujiamo help {topic}" in plain for topic in topics())


@pytest.mark.parametrize(
    "reader",
    [["groff", "-man", "-ww", "-Tutf8"], ["mandoc", "-Tlint", "-Wwarning"]],
    ids=lambda line: line[0],
)
def test_readers_of_man_pages_have_nothing_to_say_against_it(
    man_page: str, tmp_path: Path, reader: list[str]
) -> None:
    """A page that is not right is shown with holes."""
    if shutil.which(reader[0]) is None:
        pytest.skip(f"no {reader[0]} on this machine (Debian's package {reader[0]})")
    path = tmp_path / "roujiamo.1"
    path.write_text(man_page)
    answer = subprocess.run(
        [*reader, path], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    said = answer.stderr if reader[0] == "groff" else answer.stdout
    # It belongs to no release on its own, so it has no date.
    assert [line for line in said.splitlines() if "missing date" not in line] == []


def test_the_man_page_is_shown_by_man(man_page: str, tmp_path: Path) -> None:
    """As the help's example says."""
    if shutil.which("man") is None or shutil.which("groff") is None:
        pytest.skip("no man and groff on this machine (Debian's packages man-db and groff)")
    answer = subprocess.run(
        ["man", "-l", "-"],
        input=man_page,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"},
    )
    assert answer.returncode == 0, answer.stderr
    text = re.sub(r".\x08", "", answer.stdout)
    assert text.startswith("ROUJIAMO(1)")
    assert "-N, --nodes N" in text
