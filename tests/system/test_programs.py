"""How a program of ours is started: with the modules of the one that starts it, and without what it does not need."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from roujiamo.system.programs import find_program, program_command

_PROGRAM = (
    "import gc\nimport sys\n\n\ndef main(arguments: list[str]) -> int:\n    print({what})\n    return 3\n"
)
_ASK = "from roujiamo.system.programs import program_command; print(*program_command('{}', 'a b'), sep='\\0')"


def _command(module: str, environment: dict[str, str]) -> list[str]:
    """What a Python of that environment would start."""
    done = subprocess.run(
        [sys.executable, "-c", _ASK.format(module)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.rstrip("\n").split("\0")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder that is on the path of who starts the program."""
    package = tmp_path / "path" / "started"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    return tmp_path / "path"


def test_a_program_has_its_starters_path_and_no_site(tmp_path: Path, place: Path) -> None:
    """Site takes milliseconds, and puts in place what is handed over; the working directory is of no account."""
    what = "arguments, 'site' in sys.modules, 'runpy' in sys.modules, gc.get_threshold()[0], *sys.path, sep='\\n'"
    (place / "started" / "__main__.py").write_text(_PROGRAM.format(what=what))
    (tmp_path / "started").mkdir()
    environment = {**os.environ, "PYTHONPATH": f"{Path.cwd()}:{place}"}
    command = _command("started", environment)
    # Not the program's own environment: the path is handed over.
    done = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (3, "")
    arguments, has_site, has_runpy, threshold, *path = done.stdout.splitlines()
    assert (arguments, has_site, has_runpy) == ("['a b']", "False", "False")
    # It looks for garbage rarely while it loads, and later.
    assert int(threshold) > 10_000
    assert str(place) in path
    assert "" not in path
    assert str(tmp_path) not in path


def test_a_program_starts_with_site_where_modules_are_found_by_more_than_a_path(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with an editable install of what the driver imports."""
    (place / "started" / "__main__.py").write_text(_PROGRAM.format(what="'site' in sys.modules"))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, _Finder()])
    monkeypatch.setattr(sys, "path", [*sys.path, str(place)])
    done = subprocess.run(
        program_command("started"), cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "True\n", "")


class _Finder:
    @staticmethod
    def find_spec(*_: object) -> None:
        """Nothing."""


@pytest.mark.parametrize("name", ["tool", "a/tool", "./tool", "plain", "a", "b", "none", "sh", "/bin/sh", ""])
@pytest.mark.parametrize("path", ["{0}/b:{0}/a:/usr/bin:/bin", "", ":{0}/a", None])
def test_a_program_is_found_as_a_shell_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, path: str | None
) -> None:
    """A folder is none, nor a file that is not executable; what shutil.which says is the measure."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    for file, mode in (("a/tool", 0o755), ("b/tool", 0o644), ("a/plain", 0o644), ("tool", 0o755)):
        (tmp_path / file).write_text("#!/bin/sh\n")
        (tmp_path / file).chmod(mode)
    monkeypatch.chdir(tmp_path)
    if path is None:
        monkeypatch.delenv("PATH")
    else:
        monkeypatch.setenv("PATH", path.format(tmp_path))
    assert find_program(name) == shutil.which(name)
