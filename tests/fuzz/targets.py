"""The table of fuzz targets, and how a case is drawn: each from its own seed, so that it comes back alone."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.fuzz import text, wire

TARGETS: dict[str, Callable[[random.Random], None]] = {
    target.__name__: target
    for target in (
        wire.decoder,
        wire.fields,
        wire.channel,
        wire.channel_stream,
        wire.route,
        wire.handshake,
        wire.link,
        wire.host,
        text.command_line,
        text.launcher_line,
        text.recordio,
        text.http_response,
        text.http_request,
        text.driver_line,
        text.master,
    )
}


def play(name: str, seed: int, number: int) -> None:
    """Play one case of a target. Raises whatever is wrong with it."""
    TARGETS[name](random.Random(f"{seed}/{name}/{number}"))
