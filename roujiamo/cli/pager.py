"""Showing a long text: through the user's pager on a terminal, as it is anywhere else."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from typing import TextIO

# What git gives less where the user has not chosen: end at once where the text fits, keep colours, leave the text.
_LESS = "FRX"


def page(text: str, stream: TextIO) -> None:
    """Write the text to `stream`; on a terminal by $PAGER, less or more, where there is one."""
    command = _pager() if stream.isatty() and os.environ.get("TERM", "dumb") != "dumb" else None
    if command is None:
        stream.write(text)
        stream.flush()
        return
    environment = {"LESS": _LESS, **os.environ}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process:
        while True:
            # Ctrl-C is the pager's, which ends when it is told to.
            try:
                process.communicate(text.encode() if process.stdin and not process.stdin.closed else None)
                break
            except KeyboardInterrupt:
                continue


def _pager() -> list[str] | None:
    try:
        wanted = shlex.split(os.environ.get("PAGER", ""))
    except ValueError:
        # A quote that is not closed: a shell would not start it either.
        return None
    if wanted:
        # An empty PAGER says nothing, `cat` says no pager.
        return None if wanted == ["cat"] or shutil.which(wanted[0]) is None else wanted
    return next(([name] for name in ("less", "more") if shutil.which(name)), None)
