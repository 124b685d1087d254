"""What the user sees of a session, and what is kept of that in a log.

Runs in the programs of the user's shell. On a terminal one line on stderr while the hosts are awaited, rewritten in
place and gone when the program starts; in a pipe nothing; with -v plain lines. Never a byte on stdout, which is the
user's program's. A log file (--log-file, --log-json) has all of it, whatever is shown.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import logging

REFRESH_SECONDS = 1.0
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"
_ERASE = "\r\x1b[K"
_COUNTED = (("ready", "ready"), ("starting", "starting"), ("offered", "offered"))
# The levels of logging, which most runs need not load.
ERROR, _WARNING, _INFO, _DEBUG = 40, 30, 20, 10
_LEVELS = {0: _WARNING, 1: _INFO}


class Progress:
    """Shows the broker's events. `verbosity`: 0 the live line, 1 plain lines, 2 the broker's log as well."""

    def __init__(
        self, stream: TextIO, *, verbosity: int, quiet: bool, logs: Sequence[logging.Handler] = ()
    ) -> None:
        self._stream = stream
        self._verbosity = verbosity
        self._quiet = quiet
        self._logs = logs
        self._live = not quiet and verbosity == 0 and _is_terminal(stream)
        # https://no-color.org: present and not empty.
        self._styles = ("", "") if os.environ.get("NO_COLOR") else (_DIM, _PLAIN)
        self._started = time.monotonic()
        self._text = ""
        self._counts = ""
        self._shown = False

    def show(self, event: dict[str, Any]) -> None:
        """Take a `progress` or `warning` event."""
        if event["event"] == "warning":
            self.say(0, str(event["text"]))
        elif event["event"] == "progress":
            self._text = str(event["text"])
            self._counts = counts(event)
            for sentence in (*event.get("before", ()), self._text):
                self.say(1, str(sentence))
            self.refresh()

    def say(self, verbosity: int, sentence: str) -> None:
        """Print one line, where the user wants that much."""
        self.log(_LEVELS.get(verbosity, _DEBUG), sentence)
        if (self._quiet and verbosity > 0) or verbosity > self._verbosity:
            return
        self.clear()
        self._write(f"roujiamo: {sentence}\n")

    def log(self, level: int, sentence: str) -> None:
        """Keep a sentence in the log files alone."""
        if not self._logs:
            return
        import logging

        record = logging.LogRecord("roujiamo.run", level, __file__, 0, sentence, (), None)
        for handler in self._logs:
            handler.handle(record)

    def close(self) -> None:
        """Close the log files."""
        for handler in self._logs:
            handler.close()

    def next_refresh(self) -> float | None:
        """Return when `refresh` is due (time.monotonic()), None when never."""
        return time.monotonic() + REFRESH_SECONDS if self._live else None

    def refresh(self) -> None:
        """Draw the live line again."""
        if self._live and self._text and _is_foreground(self._stream):
            seconds = f" ({time.monotonic() - self._started:.0f} s)"
            try:
                # A terminal that nobody has told its size says 0.
                width = os.get_terminal_size(self._stream.fileno()).columns or 80
            except OSError:
                width = 80
            line = _cut(f"roujiamo: {self._counts}{self._text}", max(width - 1, 20) - len(seconds))
            self._write(_ERASE + self._styles[0] + line + seconds + self._styles[1])
            self._shown = True

    def clear(self) -> None:
        """Take the live line away."""
        if self._shown:
            self._write(_ERASE)
            self._shown = False

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            # Nobody reads stderr any more; the run goes on.
            self._live = False


def counts(event: Mapping[str, Any]) -> str:
    """Return how far a session's hosts are, as its event tells: `1 of 4 hosts ready, 2 starting: `."""
    hosts = event.get("hosts")
    if not hosts or not any(hosts[key] for key, _ in _COUNTED):
        return ""
    wanted = hosts["wanted"]
    whole = f"{hosts['ready']} of {wanted} hosts ready" if wanted else f"{hosts['ready']} hosts ready"
    rest = [f"{hosts[key]} {word}" for key, word in _COUNTED[1:] if hosts[key]]
    return f"{', '.join([whole, *rest])}: "


def _cut(line: str, width: int) -> str:
    # What some of it says came from elsewhere, and may not move the cursor.
    line = "".join(character if character.isprintable() else " " for character in line)
    return line if len(line) <= width else line[: max(width - 1, 0)] + "…"


def _is_foreground(stream: TextIO) -> bool:
    """Tell whether the terminal is ours to draw on: a job in the background would write over its shell's prompt."""
    try:
        return os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    except OSError:
        # A terminal that is not this session's controls nobody.
        return True


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM", "") != "dumb"
