"""Where the secret comes from, what is refused, and that no message repeats it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from roujiamo.errors import UsageError
from roujiamo.session.request import SessionRequest
from roujiamo.system.identity import with_identity

SECRET = "s3cret wörd"


def identity(
    principal: str | None, file: Path | str | None = None, **environment: str
) -> tuple[str | None, str | None]:
    """The principal and the secret that come of these."""
    request = SessionRequest(master="m", principal=principal)
    made = with_identity(request, None if file is None else str(file), environment)
    assert "ROUJIAMO_SECRET" not in environment, "what is started from here would inherit it"
    return made.principal, made.secret


def secret_file(folder: Path, content: str | bytes, mode: int = 0o600) -> Path:
    """A file with that content."""
    path = folder / "secret"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


def refusal(principal: str | None, file: Path | str | None = None, **environment: str) -> str:
    """The sentence that is said; it never holds the secret."""
    with pytest.raises(UsageError) as caught:
        identity(principal, file, **environment)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value.__context__)
    return str(caught.value)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_file_holds_the_secret_alone(tmp_path: Path, end: str) -> None:
    """With the end of line that an editor or echo adds; blanks in it are its own."""
    assert identity("hpc", secret_file(tmp_path, f" {SECRET} {end}")) == ("hpc", f" {SECRET} ")


def test_a_file_may_be_a_mesos_credential(tmp_path: Path) -> None:
    """What --credential of a Mesos agent takes; it names the principal, too."""
    path = secret_file(tmp_path, f'{{"principal": "hpc", "secret": "{SECRET}"}}\n')
    assert identity(None, path) == ("hpc", SECRET)
    assert identity("hpc", path) == ("hpc", SECRET)
    assert "not of 'other'" in refusal("other", path)


def test_nothing_said_is_nobody() -> None:
    """A master without authentication; a principal alone is a name for the operator's rules (ACLs, quota)."""
    assert identity(None) == (None, None)
    assert identity("hpc") == ("hpc", None)


def test_the_environment_may_hold_the_secret_and_a_file_goes_before_it(tmp_path: Path) -> None:
    """For schedulers that hand secrets to jobs in no other way."""
    assert identity("hpc", ROUJIAMO_SECRET=SECRET) == ("hpc", SECRET)
    assert identity("hpc", secret_file(tmp_path, "other"), ROUJIAMO_SECRET=SECRET) == ("hpc", "other")
    assert identity(None, ROUJIAMO_SECRET="") == (None, None)


def test_a_secret_without_a_principal_is_of_no_use(tmp_path: Path) -> None:
    """The sentence says where it came from, and what is missing."""
    assert "ROUJIAMO_SECRET: whose secret" in refusal(None, ROUJIAMO_SECRET=SECRET)
    path = secret_file(tmp_path, SECRET)
    assert refusal(None, path).startswith(f"{path}: whose secret")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o660])
def test_our_own_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    """As ssh refuses such a private key; the sentence has the command that mends it."""
    path = secret_file(tmp_path, SECRET, mode)
    assert refusal("hpc", path).endswith(f"(mode {mode:04o}): chmod 600 {path}")


@pytest.mark.skipif(os.geteuid() != 0, reason="a file of another user needs root")
def test_anothers_file_may_be_for_a_group_but_not_for_all(tmp_path: Path) -> None:
    """An operator gives a group of users one principal."""
    path = secret_file(tmp_path, SECRET, 0o640)
    os.chown(path, 65534, -1)
    assert identity("hpc", path) == ("hpc", SECRET)
    path.chmod(0o644)
    assert "others may use this secret" in refusal("hpc", path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "there is no secret in it"),
        ("\n", "there is no secret in it"),
        (f"{SECRET}\n{SECRET}\n", "a secret is one line"),
        (f'{{"secret": "{SECRET}"', "no Mesos credential"),
        (f'{{"credentials": [{{"secret": "{SECRET}"}}]}}', "no Mesos credential"),
        ('{"secret": 5}', "no Mesos credential"),
        (b"\xff" + SECRET.encode(), "not UTF-8"),
        ("x" * 70_000, "more than 65536 bytes"),
    ],
)
def test_what_is_no_secret_file_is_said(tmp_path: Path, content: str | bytes, sentence: str) -> None:
    """The wrong file given by mistake must not be sent to a master."""
    path = secret_file(tmp_path, content)
    said = refusal("hpc", path)
    assert said.startswith(f"{path}: ")
    assert sentence in said


def test_a_missing_file_and_a_folder_are_said(tmp_path: Path) -> None:
    """With the system's reason."""
    assert "No such file" in refusal("hpc", tmp_path / "none")
    assert "a file or a pipe" in refusal("hpc", tmp_path)
    assert "no path" in refusal("hpc", "a\0b")


def test_a_pipe_is_waited_for_and_read_to_its_end() -> None:
    """`--secret-file <(pass show mesos)`: the writer may be slow, and writes in pieces."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb", buffering=0) as file:

        def write() -> None:
            file.write(SECRET.encode()[:3])
            file.write(SECRET.encode()[3:] + b"\n")
            file.close()

        thread = threading.Timer(0.05, write)
        thread.start()
        try:
            assert identity("hpc", f"/dev/fd/{reader}") == ("hpc", SECRET)
        finally:
            thread.join()
            os.close(reader)


@pytest.mark.parametrize("principal", ["a:b", "a\nb", ""])
def test_a_principal_that_http_basic_cannot_carry_is_refused(principal: str) -> None:
    """RFC 7617: the colon ends the user-id."""
    assert "HTTP basic" in refusal(principal)
