"""bin/roujiamo-rsh finds its package and a Python wherever it was installed, without another process where it can.

The interpreters in these layouts are scripts that print how they were called.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import roujiamo
from tests.shim.session import ROOT, entry_at, package_at

MAIN = "roujiamo/shim/__main__.py"


def python_at(path: Path) -> Path:
    """Make an interpreter that prints its own path and its arguments, one a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$@"\n')
    path.chmod(0o755)
    return path


def start(
    entry: str | Path,
    *words: str,
    path: str | Path = "/nonexistent",
    environment: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> list[str]:
    """Run the entry and return the lines that it printed; PATH holds `path` alone, so no tool of the system."""
    done = subprocess.run(
        [entry, *(words or ("a", "b c"))],
        env={"PATH": str(path), **(environment or {})},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout.splitlines()


def called(lines: list[str]) -> tuple[Path, Path]:
    """Return which interpreter was called with which package; its arguments must be right."""
    assert lines[1:3] == ["-I", "-S"]
    assert lines[4:] == ["a", "b c"]
    assert lines[3].endswith("/" + MAIN)
    return Path(lines[0]).resolve(), Path(lines[3][: -len(MAIN)]).resolve()


@pytest.mark.parametrize("name", ["checkout", "a folder with 'blanks' in it"])
def test_in_a_checkout_the_venvs_python_is_preferred(tmp_path: Path, name: str) -> None:
    """There the tests and the demo installed what they need; without it, python3 will do."""
    checkout = package_at(tmp_path / name)
    entry = entry_at(checkout / "bin")
    on_path = python_at(tmp_path / "elsewhere" / "python3")
    assert called(start(entry, path=on_path.parent)) == (on_path, checkout)
    own = python_at(checkout / ".venv" / "bin" / "python3")
    assert called(start(entry, path=on_path.parent)) == (own, checkout)


@pytest.mark.parametrize(
    "packages",
    ["lib/python3.11/site-packages", "lib64/python3.11/site-packages", "lib/python3/dist-packages"],
)
def test_in_a_prefix_the_python_beside_it_is_used(tmp_path: Path, packages: str) -> None:
    """A venv, /usr of Fedora and of Debian."""
    prefix = tmp_path / "prefix"
    package_at(prefix / packages)
    entry = entry_at(prefix / "bin")
    python = python_at(prefix / "bin" / "python3")
    assert called(start(entry)) == (python, prefix / packages)


@pytest.mark.parametrize("packages", ["lib/python3.11/site-packages", "lib/python3.11/dist-packages"])
def test_where_no_python_is_beside_it_the_same_version_is_used(tmp_path: Path, packages: str) -> None:
    """~/.local and /usr/local: the installer wrote that version's bytecode."""
    prefix = tmp_path / ".local"
    package_at(prefix / packages)
    entry = entry_at(prefix / "bin")
    generic = python_at(tmp_path / "bin" / "python3")
    assert called(start(entry, path=generic.parent)) == (generic, prefix / packages)
    same = python_at(tmp_path / "bin" / "python3.11")
    assert called(start(entry, path=generic.parent)) == (same, prefix / packages)


@pytest.mark.parametrize("living", ["python3.9", "python3.10", "python3.13"])
def test_what_an_upgrade_left_behind_is_not_used(tmp_path: Path, living: str) -> None:
    """Of several versions' folders the one counts whose Python is there."""
    prefix = tmp_path / "prefix"
    for version in ("python3.9", "python3.10", "python3.13"):
        package_at(prefix / "lib" / version / "site-packages")
    entry = entry_at(prefix / "bin")
    python = python_at(prefix / "bin" / living)
    assert called(start(entry)) == (python, prefix / "lib" / living / "site-packages")


def test_an_editable_install_in_the_checkouts_own_venv(tmp_path: Path) -> None:
    """What bin/demo makes: a copy of the entry in .venv/bin, the package two folders up."""
    checkout = package_at(tmp_path)
    entry = entry_at(checkout / ".venv" / "bin")
    python = python_at(checkout / ".venv" / "bin" / "python3")
    (checkout / ".venv" / "pyvenv.cfg").touch()
    assert called(start(entry)) == (python, checkout)


def test_an_editable_install_elsewhere_is_asked_for(tmp_path: Path) -> None:
    """Only Python knows where its .pth files and import hooks lead."""
    checkout = package_at(tmp_path / "source")
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=60)
    packages = next(venv.glob("lib/python3*/site-packages"))
    (packages / "editable.pth").write_text(f"{checkout}\n")
    entry = entry_at(venv / "bin")
    # A package of that name in the current folder is not the one that was installed.
    (tmp_path / "roujiamo").mkdir()
    (tmp_path / "roujiamo" / "__init__.py").touch()
    lines = start(entry, "--version", path=os.environ["PATH"], cwd=tmp_path)
    assert lines == [f"roujiamo-rsh {roujiamo.__version__}"]


@pytest.mark.parametrize("kind", ["absolute", "relative", "chain"])
def test_a_link_is_followed(tmp_path: Path, kind: str) -> None:
    """pipx and people put links into ~/bin."""
    checkout = package_at(tmp_path / "checkout")
    entry = entry_at(checkout / "bin")
    python = python_at(checkout / ".venv" / "bin" / "python3")
    links = tmp_path / "links" / "bin"
    links.mkdir(parents=True)
    link = links / "roujiamo-rsh"
    if kind == "absolute":
        link.symlink_to(entry)
    elif kind == "relative":
        link.symlink_to("../../checkout/bin/roujiamo-rsh")
    else:
        (links / "other").symlink_to(entry)
        link.symlink_to("other")
    assert called(start(link, path=os.environ["PATH"])) == (python, checkout)


def test_a_link_to_its_folder_needs_no_look(tmp_path: Path) -> None:
    """/bin is a link to /usr/bin on Debian."""
    prefix = tmp_path / "usr"
    package_at(prefix / "lib" / "python3" / "dist-packages")
    entry_at(prefix / "bin")
    python = python_at(prefix / "bin" / "python3")
    (tmp_path / "bin").symlink_to("usr/bin")
    assert called(start(tmp_path / "bin" / "roujiamo-rsh")) == (
        python,
        prefix / "lib" / "python3" / "dist-packages",
    )


def test_it_is_found_by_its_bare_name(tmp_path: Path) -> None:
    """Launchers look their agent up on PATH; and a shell may be given the file's name alone."""
    checkout = package_at(tmp_path)
    entry_at(checkout / "bin")
    python = python_at(checkout / ".venv" / "bin" / "python3")
    environment = {"PATH": f"{checkout / 'bin'}"}
    lines = start("/bin/sh", "-c", 'roujiamo-rsh "$@"', "sh", "a", "b c", path=environment["PATH"])
    assert called(lines) == (python, checkout)
    lines = start("/bin/sh", "roujiamo-rsh", "a", "b c", cwd=checkout / "bin")
    assert lines[0] == "./../.venv/bin/python3"


def test_another_python_can_be_named(tmp_path: Path) -> None:
    """By path or by name."""
    checkout = package_at(tmp_path / "checkout")
    entry = entry_at(checkout / "bin")
    python_at(checkout / ".venv" / "bin" / "python3")
    other = python_at(tmp_path / "else where" / "pypy")
    named = {"ROUJIAMO_PYTHON": str(other)}
    assert called(start(entry, environment=named)) == (other, checkout)
    named = {"ROUJIAMO_PYTHON": "pypy"}
    assert called(start(entry, path=other.parent, environment=named)) == (other, checkout)


@pytest.mark.parametrize("value", ["/nonexistent/python3", "no-such-python", "/tmp", "/etc/passwd"])
def test_a_python_that_is_not_there_is_one_sentence_and_255(tmp_path: Path, value: str) -> None:
    """The shell's 127 would say that the remote command was not found."""
    entry = entry_at(package_at(tmp_path) / "bin")
    environment = {"PATH": "/nonexistent", "ROUJIAMO_PYTHON": value}
    done = subprocess.run([entry, "h", "c"], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 255
    assert done.stdout == ""
    assert done.stderr == (
        f"roujiamo-rsh: there is no Python 3 at {value}; set ROUJIAMO_PYTHON to one (3.6 or newer)\n"
    )


def test_where_nothing_is_found_it_says_so(tmp_path: Path) -> None:
    """With a Python that does not know the package, and with none."""
    entry = entry_at(tmp_path / "bin")
    empty = tmp_path / "empty"
    empty.mkdir()
    for path, part in (
        (os.environ["PATH"], "install it there with pip"),
        (str(empty), "no Python 3 at python3"),
    ):
        done = subprocess.run(
            [entry, "h", "c"],
            env={"PATH": path, "PYTHONPATH": "", "ROUJIAMO_PYTHON": ""},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 255
        assert part in done.stderr
        assert done.stderr.startswith("roujiamo-rsh: ")
        assert done.stderr.count("\n") == 1


def test_a_python_that_is_too_old_is_told_with_the_status_of_a_failure() -> None:
    """Not with a traceback and 1, which would be a command's: such a Python has no `_signal`."""
    main = str(ROOT / MAIN)
    old = (
        "import sys\n"
        "sys.modules['_signal'] = None\n"
        "sys.version, sys.version_info = '3.4.10', (3, 4, 10)\n"
        f"__file__ = {main!r}\n"
        "exec(compile(open(__file__).read(), __file__, 'exec'))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", old], capture_output=True, text=True, timeout=60)
    assert done.returncode == 255
    assert done.stderr.endswith("is Python 3.4; set ROUJIAMO_PYTHON to a Python 3.6 or newer\n")
    assert done.stderr.count("\n") == 1
