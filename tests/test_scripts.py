"""The scripts in bin/ as a newcomer meets them: which Python they take, and what they say where there is none."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.support import python36, requires_python36

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted(path for path in (ROOT / "bin").iterdir() if path.suffix in ("", ".sh"))
COMMANDS = [path for path in SCRIPTS if not path.name.startswith(".")]


def run(
    argv: Sequence[str | Path], environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        env=None if environment is None else dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone without a venv, in a folder whose name has a blank."""
    root = tmp_path / "a clone"
    root.mkdir()
    shutil.copytree(ROOT / "bin", root / "bin")
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder for PATH with the few tools that the scripts use, and no Python."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("cat", "cksum", "date", "dirname", "flock", "id", "mktemp", "rm", "sed", "sh", "uname"):
        path = shutil.which(name)
        if path is not None:
            (folder / name).symlink_to(path)
    return folder


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("script", COMMANDS, ids=lambda path: path.name)
def test_commands_are_executable_posix_shell(script: Path) -> None:
    """They run where only /bin/sh is, so dash must read them too."""
    assert script.read_text().startswith("#!/bin/sh\n")
    assert stat.S_IMODE(script.stat().st_mode) & 0o111 == 0o111


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_read_without_a_syntax_error(script: Path) -> None:
    """A wrong branch is found before somebody takes it."""
    checked = run(["/bin/sh", "-n", script])
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("script", ["demo", "test"])
def test_without_a_python_the_scripts_say_what_to_install(clone: Path, tools: Path, script: str) -> None:
    """The first thing that a bare machine may lack."""
    answer = run([clone / "bin" / script], {"PATH": str(tools), "HOME": str(clone)})
    assert answer.returncode == 127
    assert answer.stderr.startswith(f"{script}: no Python 3.11 or later on PATH")
    assert "apt install python3" in answer.stderr


@requires_python36
def test_an_old_python_is_named_with_its_version(clone: Path, tools: Path) -> None:
    """The user learns why the python3 that is there will not do."""
    old = python36()
    assert old is not None
    (tools / "python3").symlink_to(old)
    answer = run([clone / "bin" / "test"], {"PATH": str(tools), "HOME": str(clone)})
    assert answer.returncode == 127
    assert f"({tools}/python3 is 3.6)" in answer.stderr
    answer = run([clone / "bin" / "test"], {"PATH": str(tools), "HOME": str(clone), "PYTHON": old})
    assert answer.returncode == 1
    assert "is Python 3.6; roujiamo needs 3.11 or later" in answer.stderr


def test_a_python_that_was_asked_for_and_is_not_there_is_an_error(clone: Path) -> None:
    """Another one in its place would test something else than the user thinks."""
    answer = run([clone / "bin" / "test"], {**os.environ, "PYTHON": "python3.99"})
    assert answer.returncode == 127
    assert answer.stderr == "test: PYTHON=python3.99: there is no such program\n"


def test_a_python_that_cannot_make_venvs_is_answered_with_debians_package(clone: Path, tools: Path) -> None:
    """Debian's python3 comes without ensurepip; with no pip either there is no way round it."""
    # An interpreter that knows its version and fails at everything else, as one without these modules does.
    program(
        tools / "python3",
        'case $2 in *version_info*) echo 3.11 ;; *) echo "No module named venv" >&2; exit 1 ;; esac',
    )
    answer = run([clone / "bin" / "demo"], {"PATH": str(tools), "HOME": str(clone)})
    assert answer.returncode == 1
    assert "apt install python3-venv" in answer.stderr
    assert not (clone / ".venv").exists()


def test_a_broken_python_on_path_is_passed_over_for_one_that_runs(clone: Path, tools: Path) -> None:
    """pyenv puts commands on PATH for versions that are not selected, and they fail."""
    program(tools / "python3", "exit 127")
    program(tools / "python3.12", "case $2 in *version_info*) echo 3.12 ;; *) exit 1 ;; esac")
    answer = run([clone / "bin" / "demo"], {"PATH": str(tools), "HOME": str(clone)})
    assert f"Python 3.12 ({tools}/python3.12) can make no virtual environment" in answer.stderr
