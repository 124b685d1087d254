"""What the user sees while the hosts are awaited: one live line on a terminal, plain lines with -v, and logs."""

from __future__ import annotations

import json
import os
import stat
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import pytest

from roujiamo.errors import UsageError
from roujiamo.run.progress import Progress, counts
from roujiamo.system.log_files import open_logs


class Terminal(NamedTuple):
    """A terminal of so many columns; `stream` is its end for programs."""

    stream: TextIO
    screen: int

    def shown(self) -> str:
        """What has been written to it since."""
        return os.read(self.screen, 65536).decode()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """60 columns wide, and with colours."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    screen, side = os.openpty()
    termios.tcsetwinsize(side, (24, 60))
    with os.fdopen(side, "w") as stream:
        yield Terminal(stream, screen)
    os.close(screen)


def event(text: str, **hosts: Any) -> dict[str, Any]:
    """A broker's event."""
    return {
        "event": "progress",
        "text": text,
        "hosts": {"wanted": 4, "offered": 0, "starting": 0, "ready": 0, **hosts},
    }


def test_the_live_line_tells_the_hosts_what_is_awaited_and_how_long(terminal: Terminal) -> None:
    """Rewritten in place, and cut so that it is one line however long the text."""
    progress = Progress(terminal.stream, verbosity=0, quiet=False)
    progress.show(event("agent3: task launched", offered=1, starting=2, ready=1))
    line = "roujiamo: 1 of 4 hosts ready, 2 starting, 1 offered:… (0 s)"
    assert len(line) == 59
    assert terminal.shown() == f"\r\x1b[K\x1b[2m{line}\x1b[0m"
    progress.clear()
    assert terminal.shown() == "\r\x1b[K"


def test_no_color_is_heeded(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """https://no-color.org; the line itself stays."""
    monkeypatch.setenv("NO_COLOR", "1")
    Progress(terminal.stream, verbosity=0, quiet=False).show(event("waiting for offers"))
    assert terminal.shown() == "\r\x1b[Kroujiamo: waiting for offers (0 s)"


def test_what_came_from_elsewhere_moves_no_cursor(terminal: Terminal) -> None:
    """A master's sentence is shown in it."""
    Progress(terminal.stream, verbosity=0, quiet=False).show(event("a\x1b[2Jb\nc"))
    assert "a [2Jb c" in terminal.shown()


@pytest.mark.parametrize(
    ("verbosity", "quiet", "shown"),
    [(0, False, ""), (1, False, "roujiamo: agent1 is ready\n"), (1, True, ""), (0, True, "")],
)
def test_in_a_pipe_there_is_nothing_or_plain_lines(
    verbosity: int, quiet: bool, shown: str, tmp_path: Path
) -> None:
    """With -v what happens, one line each; -q says nothing of it."""
    with open(tmp_path / "err", "w+", encoding="utf-8") as stream:
        progress = Progress(stream, verbosity=verbosity, quiet=quiet)
        progress.show(event("agent1 is ready", ready=1))
        progress.refresh()
        progress.clear()
        stream.seek(0)
        assert stream.read() == shown


def test_each_sentence_of_an_event_is_a_line(tmp_path: Path) -> None:
    """What one turn of the broker's loop has to tell of the hosts comes in one event."""
    with open(tmp_path / "err", "w+", encoding="utf-8") as stream:
        progress = Progress(stream, verbosity=1, quiet=False)
        progress.show({**event("agent3 is ready"), "before": ["agent1 is ready", "agent2 is ready"]})
        stream.seek(0)
        assert stream.read() == "".join(f"roujiamo: agent{number} is ready\n" for number in (1, 2, 3))


def test_counts_are_told_where_there_are_some() -> None:
    """Not before the first offer; and where the number of hosts is the allocator's to find, without it."""
    assert counts(event("")) == ""
    assert counts({"event": "progress"}) == ""
    assert counts(event("", wanted=None, ready=1, starting=1)) == "1 hosts ready, 1 starting: "


def test_logs_have_all_of_it_whatever_is_shown(tmp_path: Path) -> None:
    """As text and as JSON, appended, and for the user alone."""
    text, lines = tmp_path / "log", tmp_path / "log.json"
    for _ in range(2):
        with open(tmp_path / "err", "w", encoding="utf-8") as stream:
            progress = Progress(stream, verbosity=0, quiet=True, logs=open_logs(str(text), str(lines)))
            progress.show(event("agent1 is ready"))
            progress.say(0, "the end")
            progress.close()
    assert [line.split(" roujiamo.run ")[1] for line in text.read_text().splitlines()] == [
        "INFO: agent1 is ready",
        "WARNING: the end",
    ] * 2
    first = json.loads(lines.read_text().splitlines()[0])
    assert (first["part"], first["level"], first["message"]) == ("roujiamo.run", "info", "agent1 is ready")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (text, lines)} == {0o600}


def test_a_log_that_cannot_be_written_is_a_wrong_option(tmp_path: Path) -> None:
    """Before anything is asked of the master."""
    with pytest.raises(UsageError, match=r"--log-json .*/gone/log: cannot be written: No such file"):
        open_logs(None, str(tmp_path / "gone" / "log"))
