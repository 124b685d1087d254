"""The package as a user installs it: a wheel from this tree in a fresh venv, without the network."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

import roujiamo

ROOT = Path(__file__).resolve().parents[1]
SHELL_SCRIPTS = ("roujiamo-rsh", "ompirun.sh")


def run(argv: Sequence[str | Path], **kwargs: object) -> subprocess.CompletedProcess[str]:
    kwargs.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, **kwargs)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: a build writes into the tree it builds from."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("roujiamo", "bin"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    folder = tmp_path_factory.mktemp("wheel")
    built = run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--no-deps",
            "--no-build-isolation",
            "--no-index",
            "-w",
            folder,
            copy,
        ]
    )
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh venv with the wheel in it; the libraries it needs come from this test's own venv."""
    venv = tmp_path_factory.mktemp("user") / "a venv"
    made = run([sys.executable, "-m", "venv", "--without-pip", venv])
    assert made.returncode == 0, made.stderr
    pip = [sys.executable, "-m", "pip", "--python", venv / "bin" / "python", "install"]
    added = run([*pip, "--no-deps", "--no-index", wheel])
    assert added.returncode == 0, added.stderr
    (packages,) = venv.glob("lib/python3.*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return venv / "bin"


def environment(bin_folder: Path) -> dict[str, str]:
    """A user's environment with the venv first on PATH, and nothing that points at this tree."""
    return {"PATH": f"{bin_folder}:/usr/bin:/bin", "HOME": os.environ.get("HOME", "/")}


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """Tests and set-up scripts are the clone's; every module of the tree is in the wheel."""
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "roujiamo").rglob("*.py")}
    assert modules <= names
    scripts = {name.rpartition("/")[2] for name in names if ".data/scripts/" in name}
    assert scripts == set(SHELL_SCRIPTS)
    assert all(name.startswith("roujiamo/") or ".data/scripts/" in name for name in names)


@pytest.mark.parametrize("name", SHELL_SCRIPTS)
def test_shell_scripts_arrive_as_they_are(installed: Path, name: str) -> None:
    """An installer that took one for a Python script would write another first line, and drop -I -S."""
    script = installed / name
    assert script.read_bytes() == (ROOT / "bin" / name).read_bytes()
    assert script.read_bytes().startswith(b"#!/bin/sh\n")
    assert stat.S_IMODE(script.stat().st_mode) & 0o111 == 0o111


def test_the_rsh_launcher_keeps_the_interpreters_flags(installed: Path) -> None:
    """-I -S is what makes the shim's start fast, and safe from PYTHONPATH and the working folder."""
    assert re.search(r"^\s*exec .* -I -S ", (installed / "roujiamo-rsh").read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", ["roujiamo", *SHELL_SCRIPTS])
def test_each_command_is_found_on_path_and_tells_its_version(
    installed: Path, tmp_path: Path, command: str
) -> None:
    """The three names that the documents use, from any folder."""
    answer = run([command, "--version"], env=environment(installed), cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert roujiamo.__version__ in answer.stdout + answer.stderr


@pytest.mark.parametrize("command", ["roujiamo", *SHELL_SCRIPTS])
def test_each_command_has_a_help(installed: Path, tmp_path: Path, command: str) -> None:
    """--help works before anything else does: without a session, a master or an MPI."""
    answer = run([command, "--help"], env=environment(installed), cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "usage" in (answer.stdout + answer.stderr).lower()


def test_the_installed_rsh_agent_says_that_there_is_no_session(installed: Path, tmp_path: Path) -> None:
    """The installed shim really runs, and its own failure is ssh's 255 with one sentence."""
    answer = run(["roujiamo-rsh", "somewhere", "true"], env=environment(installed), cwd=tmp_path)
    assert answer.returncode == 255
    assert answer.stdout == ""
    assert answer.stderr.startswith("roujiamo-rsh: ")
    assert len(answer.stderr.splitlines()) == 1


def test_the_documents_are_in_the_package(wheel: Path, installed: Path, tmp_path: Path) -> None:
    """All of them, for `roujiamo help`; and the pictures beside them."""
    names = set(zipfile.ZipFile(wheel).namelist())
    pages = [path for path in (ROOT / "roujiamo" / "docs").iterdir() if path.suffix in (".md", ".svg")]
    assert {f"roujiamo/docs/{path.name}" for path in pages} <= names
    answer = run(["roujiamo", "help", "getting-started"], env=environment(installed), cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == (ROOT / "roujiamo" / "docs" / "getting-started.md").read_text()


def test_the_installed_package_needs_no_file_of_the_clone(installed: Path, tmp_path: Path) -> None:
    """Everything that is read at run time is in the wheel: here, the code that a task is sent."""
    program = "import roujiamo, roujiamo.proxy.carried as w; print(roujiamo.__file__); print(len(w.carried_modules()))"
    answer = run([installed / "python", "-c", program], env=environment(installed), cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    where, count = answer.stdout.splitlines()
    assert where.startswith(str(installed.parent))
    assert int(count) > 0


def test_one_list_of_libraries_in_project_setup_and_readme() -> None:
    """Plain pip cannot install pymesos: the line that works is written down in three places, and must be one line."""
    project = (ROOT / "pyproject.toml").read_text()
    libraries = re.search(r"^dependencies = \[(.*?)\]", project, re.MULTILINE | re.DOTALL)
    assert libraries is not None
    needed = " ".join(re.findall(r'"([\w.-]+)', libraries.group(1)))
    line = f"pip install --no-deps pymesos==0.3.15 && pip install {needed}"
    assert line in project
    assert line in (ROOT / "README.md").read_text()
    setup = (ROOT / "bin" / ".setup.sh").read_text()
    assert "pip_install --no-deps pymesos==0.3.15\n" in setup
    assert f"pip_install {needed}\n" in setup
