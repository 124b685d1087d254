"""The configurations as a user has them: where they are looked for, who goes before, and who may write them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from roujiamo.errors import UsageError
from roujiamo.system.configuration import read_configurations
from roujiamo.system.configuration_files import candidates, is_any_there
from tests.support import scaled

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The path of a user's configuration, as XDG_CONFIG_HOME leads to it."""
    path = tmp_path / "roujiamo" / "roujiamo.toml"
    path.parent.mkdir()
    return path


def write(path: Path, text: str) -> None:
    """Only this user may write it, whatever the umask of the tests."""
    path.write_text(text)
    path.chmod(0o644)


def roujiamo(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-m", "roujiamo", *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=scaled(60),
    )


def test_the_users_goes_before_the_systems() -> None:
    """XDG Base Directory Specification: a relative XDG_CONFIG_HOME is none."""
    system = b"/etc/roujiamo/roujiamo.toml"
    assert candidates({b"XDG_CONFIG_HOME": b"/x/", b"HOME": b"/h"}) == [b"/x/roujiamo/roujiamo.toml", system]
    home = [b"/h/.config/roujiamo/roujiamo.toml", system]
    assert candidates({b"XDG_CONFIG_HOME": b"x", b"HOME": b"/h"}) == home
    assert candidates({b"HOME": b"/h", b"ROUJIAMO_CONFIG": b""}) == home
    assert candidates({}) == [system]
    assert candidates({b"HOME": b"/h", b"ROUJIAMO_CONFIG": b"mine.toml"}) == [b"mine.toml"]


def test_doctor_shows_each_setting_and_who_has_said_so(file: Path) -> None:
    """The command line before the environment, and that before the file."""
    write(file, 'master = "local:3"\nmem = 300\ncpus-per-task = 2\ntimeout = 5\n')
    answer = roujiamo(
        *("doctor", "--json", "--timeout", "7"),
        XDG_CONFIG_HOME=str(file.parents[1]),
        ROUJIAMO_CONFIG="",
        ROUJIAMO_MEM="200",
        ROUJIAMO_TIMEOUT="6",
    )
    found = {each["check"]: each["text"] for each in json.loads(answer.stdout)}
    assert str(file) in found["configuration"]
    assert found["--master"] == f"local:3  (from {file}:1)"
    assert found["--mem"] == "200  (from ROUJIAMO_MEM)"
    assert found["--cpus-per-task"] == f"2  (from {file}:3)"
    assert found["--timeout"] == "7  (from --timeout)"


def test_a_wrong_key_is_named_with_file_and_line(file: Path) -> None:
    """By each command that would use it, with the status of a wrong option."""
    write(file, "nodes = 2\n\nmen = 300\n")
    for arguments in (("run", "true"), ("alloc", "--", "true"), ("doctor",)):
        answer = roujiamo(*arguments, ROUJIAMO_CONFIG=str(file))
        assert answer.returncode == 2
        assert answer.stderr == f"roujiamo: {file}:3: men: there is no such option; did you mean mem?\n"


def test_one_that_was_named_must_be_there(tmp_path: Path) -> None:
    """A typing error in ROUJIAMO_CONFIG would be found nowhere else."""
    gone = str(tmp_path / "gone.toml")
    with pytest.raises(UsageError, match=r"gone\.toml: there is no such file \(ROUJIAMO_CONFIG names it\)"):
        read_configurations({"ROUJIAMO_CONFIG": gone})
    assert read_configurations({"XDG_CONFIG_HOME": str(tmp_path)}) == []
    assert is_any_there({b"ROUJIAMO_CONFIG": gone.encode()}), "the one who reads it has to say so"
    assert not is_any_there({b"ROUJIAMO_CONFIG": b"/dev/null"})


def test_one_that_others_may_write_is_refused(file: Path) -> None:
    """It may name the mpiexec that is run."""
    write(file, "nodes = 2\n")
    environment = {"ROUJIAMO_CONFIG": str(file)}
    assert len(read_configurations(environment)) == 1
    for mode in (0o664, 0o646):
        file.chmod(mode)
        with pytest.raises(UsageError, match=f"others may write it.*chmod go-w {file}"):
            read_configurations(environment)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file to another")
def test_one_of_another_user_is_refused(file: Path) -> None:
    """ROUJIAMO_CONFIG may lead to a shared folder."""
    write(file, "nodes = 2\n")
    os.chown(file, 65534, 65534)
    with pytest.raises(UsageError, match="belongs to the user 65534"):
        read_configurations({"ROUJIAMO_CONFIG": str(file)})


def test_what_is_no_text_is_told_with_its_line(file: Path) -> None:
    """Not with a traceback."""
    file.write_bytes(b"nodes = 2\nname = '\xff'\n")
    file.chmod(0o644)
    with pytest.raises(UsageError, match="toml:2: this is no UTF-8 text"):
        read_configurations({"ROUJIAMO_CONFIG": str(file)})
