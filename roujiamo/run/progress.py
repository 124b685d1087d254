"""What the user sees of a session that is not there yet.

Runs in the programs of the user's shell. On a terminal one line on stderr, rewritten in place and gone when the program
starts; in a pipe nothing; with -v plain lines. Never a byte on stdout, which is the user's program's.
"""

from __future__ import annotations

import os
import time
from typing import Any, TextIO

REFRESH_SECONDS = 1.0


class Progress:
    """Shows the broker's events. `verbosity`: 0 the live line, 1 plain lines, 2 the broker's log as well."""

    def __init__(self, stream: TextIO, *, verbosity: int, quiet: bool) -> None:
        self._stream = stream
        self._verbosity = verbosity
        self._quiet = quiet
        self._live = not quiet and verbosity == 0 and _is_terminal(stream)
        self._started = time.monotonic()
        self._text = ""
        self._shown = False

    def show(self, event: dict[str, Any]) -> None:
        """Take a `progress` or `warning` event."""
        if event["event"] == "warning":
            self.say(0, str(event["text"]))
        elif event["event"] == "progress":
            self._text = str(event["text"])
            if self._verbosity:
                self.say(1, self._text)
            self.refresh()

    def say(self, verbosity: int, sentence: str) -> None:
        """Print one line, where the user wants that much."""
        if (self._quiet and verbosity > 0) or verbosity > self._verbosity:
            return
        self.clear()
        self._write(f"roujiamo: {sentence}\n")

    def next_refresh(self) -> float | None:
        """Return when `refresh` is due (time.monotonic()), None when never."""
        return time.monotonic() + REFRESH_SECONDS if self._live else None

    def refresh(self) -> None:
        """Draw the live line again."""
        if self._live and self._text:
            line = f"roujiamo: {self._text} ({time.monotonic() - self._started:.0f} s)"
            try:
                # A terminal that nobody has told its size says 0.
                width = os.get_terminal_size(self._stream.fileno()).columns or 80
            except OSError:
                width = 80
            self._write("\r\x1b[K" + line[: max(width - 1, 20)])
            self._shown = True

    def clear(self) -> None:
        """Take the live line away."""
        if self._shown:
            self._write("\r\x1b[K")
            self._shown = False

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            # Nobody reads stderr any more; the run goes on.
            self._live = False


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM", "") != "dumb"
