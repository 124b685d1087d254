"""The file of `--timeline`: written when the session is over, whatever came of it.

Runs in `roujiamo run` and `roujiamo alloc`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from roujiamo.errors import UsageError
from roujiamo.session.timeline import Moment, arrange, as_trace


def check_place(path: str | None) -> None:
    """Raise UsageError where such a file could never be written: before anything is asked of the master."""
    if path is not None:
        folder = os.path.dirname(path) or "."
        if not os.path.isdir(folder):
            raise UsageError(f"--timeline {path}: there is no folder {folder}")
        if not os.access(folder, os.W_OK):
            raise UsageError(f"--timeline {path}: nothing can be written into {folder}")


def write_timeline(path: str, moments: Iterable[Moment], program: str, title: str) -> str | None:
    """Write the timeline in the form that the name's ending says; return a sentence where that failed."""
    timeline = arrange(moments, program)
    if path.endswith(".svg"):
        from roujiamo.session.timeline_picture import as_svg

        text = as_svg(timeline, title)
    else:
        text = as_trace(timeline)
    try:
        # A program's name need not be UTF-8 text.
        Path(path).write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        return f"the timeline {path} cannot be written: {error.strerror}"
    return None
