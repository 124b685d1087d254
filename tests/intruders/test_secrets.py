"""Where a session's secrets are not: argument lists, logs, errors, files, and what Mesos shows to who asks it."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roujiamo.protocol import frames
from tests.broker.conftest import Session, session_with
from tests.support import scaled

HIDDEN = "hidden-" + os.urandom(8).hex()


class Place:
    """A ready session with a secret in its `--env`, and the places where such a thing could come to light."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.host = session.hosts[0]["name"]
        self.sandbox = Path(session.rsh(self.host, "echo $MESOS_SANDBOX").stdout.decode().strip())
        environment = Path(f"/proc/{session.hosts[0]['facts']['pid']}/environ").read_bytes()
        found = re.search(rb"(?:^|\0)ROUJIAMO_TOKEN=([0-9a-f]{64})", environment)
        assert found is not None
        self.token = found[1].decode()
        self.status = self._ask("status")
        self.credential = self._ask("credential")

    def _ask(self, request: str) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(scaled(20))
            connection.connect(self.session.request.folder + "/socket")
            connection.sendall(frames.encode(frames.CONTROL, 0, json.dumps({"request": request}).encode()))
            decoder = frames.Decoder()
            while not (taken := decoder.receive_data(connection.recv(1 << 16))):
                pass
            answer: dict[str, Any] = json.loads(taken[0][2])
            return answer

    def assert_not_in(self, text: str | bytes, where: str, *, token: bool = True) -> None:
        told = text if isinstance(text, bytes) else text.encode()
        assert HIDDEN.encode() not in told, where
        assert not token or self.token.encode() not in told, where


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """One session; a command has used the secret, others have failed."""
    with (
        tempfile.TemporaryDirectory(prefix="rj-") as path,
        session_with(Path(path), environment={"MY_KEY": HIDDEN}) as session,
    ):
        session.wait_until_ready()
        host = session.hosts[0]["name"]
        assert session.rsh(host, "echo $MY_KEY").stdout.decode().strip() == HIDDEN
        yield Place(session)


def test_no_argument_list_on_the_machine_has_one(place: Place) -> None:
    """ps(1) shows them to everybody."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        place.assert_not_in(words, str(path))


def test_no_error_has_one(place: Place) -> None:
    """What fails is said with its name, not with what it was given."""
    for arguments in (["nowhere", "true"], [place.host, "no-such-command"], [place.host, "exit 9"], ["-Z"]):
        done = place.session.rsh(*arguments)
        assert done.returncode != 0
        place.assert_not_in(done.stdout + done.stderr, str(arguments))


def test_neither_log_nor_status_nor_the_owners_events_have_one(place: Place) -> None:
    """They are kept, mailed and pasted into bug reports."""
    place.assert_not_in((Path(place.session.request.folder) / "log").read_bytes(), "the log")
    place.assert_not_in(json.dumps(place.status), "the status")
    place.assert_not_in(json.dumps(place.session.events), "the events")


def test_no_file_of_session_and_cluster_has_one(place: Place) -> None:
    """Sandboxes are shown by agents; a checkpoint holds the task, and that its token, for its owner alone."""
    cluster = Path(str(place.sandbox).partition("/slaves/")[0])
    assert place.sandbox.is_relative_to(cluster)
    looked_at = set()
    for folder in (Path(place.session.request.folder), cluster):
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                looked_at.add(path.name)
                in_sandbox = path.is_relative_to(place.sandbox)
                place.assert_not_in(path.read_bytes(), str(path), token=in_sandbox or may_be_read(path))
    assert {"log", "stdout", "stderr", "roujiamo-rsh"} < looked_at


def may_be_read(path: Path) -> bool:
    """Whether somebody else may read a file, by its mode and by its folders'."""
    return bool(path.stat().st_mode & 0o004) and all(each.stat().st_mode & 0o001 for each in path.parents)


def test_mesos_shows_no_more_than_a_token_that_was_used(place: Place) -> None:
    """The state is for who may read it; the user's variables and the resume credential were never there."""
    pair = f"{place.credential['principal']}:{place.credential['secret']}"
    headers = {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    for path in ("/state", "/tasks", "/frameworks", "/state-summary"):
        request = urllib.request.Request(f"http://{place.status['master']}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=scaled(10)) as answer:
            told = answer.read()
        place.assert_not_in(told, path, token=False)
        assert (
            path == "/state-summary"
            or place.session.hosts[0]["task_id"].encode() in told
            or path == "/frameworks"
        )
