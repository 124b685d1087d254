"""The task's command: small, safe to quote, clear where it cannot work."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from roujiamo.proxy import first_contact, first_contact_short
from roujiamo.proxy.bootstrap import bootstrap_command, bootstrap_program
from tests.proxy import shortening
from tests.proxy.shortening import shortened
from tests.support import requires_python36


def _run(path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", bootstrap_command()],
        env={"PATH": str(path), "ROUJIAMO_HOST": "agent1.example", **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


def test_the_program_is_small_enough_for_every_place_a_task_goes_through() -> None:
    """Mesos carries it once per host, as JSON in an argument; a debugging operator reads it."""
    assert len(bootstrap_program()) <= 2400
    assert len(bootstrap_command()) <= 2650


def test_the_program_needs_no_quoting_in_single_quotes() -> None:
    """It is text inside one shell word, in Mesos's shell and in docker's."""
    assert "'" not in bootstrap_program()
    assert bootstrap_program().isascii()


@requires_python36
def test_the_program_is_python_36() -> None:
    """Agents are older than laptops."""
    ast.parse(bootstrap_program(), feature_version=(3, 6))


def test_the_short_form_is_that_of_the_program() -> None:
    """It lies in the package, ready for a session's start; compared as trees, since Pythons write them differently."""
    source = Path(first_contact.__file__).read_text()
    wanted, made = (ast.dump(ast.parse(text)) for text in (shortened(source), first_contact_short.PROGRAM))
    assert made == wanted, "run `python -m tests.proxy.shortening`"
    assert shortening.shortened_names(source)["main"] == first_contact_short.MAIN


def test_shortening_keeps_the_meaning() -> None:
    """Names inside functions, default arguments, handlers and closures are all told apart from the builtins."""
    source = '''
"""Docstring."""
import json
import os

def total(numbers: "list[int]", start: int = 3) -> int:
    """Sum."""
    def add(number: int) -> None:
        numbers[0] += 0 * number
    for number in numbers:
        add(number)
    try:
        json.loads("no")
    except ValueError as error:
        return start + len(str(error)[:1])
    return 0
print(total([1, 2]), os.path.basename("a/b"))
'''
    text = shortened(source)
    answers = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for program in (source, text)
    ]
    assert answers[0] == answers[1] == "4 b\n"
    assert "Docstring" not in text
    assert "numbers" not in text


def test_an_agent_without_python_gets_one_clear_sentence(tmp_path: Path) -> None:
    """Images often have none; 127 is what a shell says then."""
    if os.path.exists("/usr/libexec/platform-python"):
        pytest.skip("this machine has the platform's Python")
    answer = _run(tmp_path)
    assert answer.returncode == 127
    assert answer.stderr == (
        "roujiamo-proxy: agent1.example: no python3 on this agent; "
        "install python3 >= 3.6 there, or use an image that has it\n"
    )


def test_a_python_that_is_too_old_is_named(tmp_path: Path) -> None:
    """The sentence says what is there and what is needed."""
    old = tmp_path / "python3"
    wrapper = (
        "import sys; sys.version_info = (3, 5, 2); sys.version = '3.5.2 (default)'; exec(sys.argv.pop())"
    )
    old.write_text(f'#!/bin/sh\nshift 3\nexec {sys.executable} -c "{wrapper}" "$1"\n')
    old.chmod(0o755)
    answer = _run(tmp_path)
    assert answer.returncode == 127
    assert answer.stderr == (
        "roujiamo-proxy: agent1.example: python3 is 3.5.2 here; install 3.6 or later on this agent\n"
    )


def test_a_file_of_the_users_in_the_sandbox_is_not_taken_for_a_module(tmp_path: Path) -> None:
    """A program that comes by --uri may be called socket.py."""
    (tmp_path / "socket.py").write_text("raise SystemExit('took the wrong module')")
    (tmp_path / "python3").symlink_to(os.path.realpath(sys.executable))
    answer = subprocess.run(
        ["/bin/sh", "-c", bootstrap_command()],
        cwd=tmp_path,
        env={"PATH": str(tmp_path), "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    assert "took the wrong module" not in answer.stderr
    assert "ROUJIAMO_CALLBACK" in answer.stderr
