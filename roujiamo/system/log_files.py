"""The logs that a user keeps: `--log-file` in lines of text, `--log-json` in lines of JSON.

Layer 2; used by the program in the user's shell for what it says and by the broker for its log, both at once: each line
is one write to a file that is open for appending, so they do not mix. Nothing that is logged holds a secret; the files
are the user's alone all the same, as command lines are in them.
"""

from __future__ import annotations

import json
import logging
import os

from roujiamo.errors import UsageError

TEXT_FORMAT = "%(asctime)s %(name)s %(levelname)s: %(message)s"


class LineFile(logging.Handler):
    """Appends each record to the file at `path` in one write. Raises OSError where that cannot be written."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; a full disk does not end a run."""
        try:
            os.write(self._descriptor, (self.format(record) + "\n").encode("utf-8", "backslashreplace"))
        except OSError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say nothing: stderr is the program's."""

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        super().close()


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (seconds since 1970), level, part (the module), message, pid."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        content = {
            "time": round(record.created, 6),
            "level": record.levelname.lower(),
            "part": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        if record.exc_info:
            content["traceback"] = self.formatException(record.exc_info)
        return json.dumps(content)


def open_logs(text: str | None, lines: str | None) -> list[logging.Handler]:
    """Return what writes to the files of --log-file and --log-json. Raises UsageError."""
    handlers: list[logging.Handler] = []
    for flag, path, formatter in (
        ("--log-file", text, logging.Formatter(TEXT_FORMAT)),
        ("--log-json", lines, JsonFormatter()),
    ):
        if path is None:
            continue
        try:
            handler = LineFile(path)
        except OSError as error:
            raise UsageError(f"{flag} {path}: cannot be written: {error.strerror}") from error
        handler.setFormatter(formatter)
        handlers.append(handler)
    return handlers
