"""What a run was asked for, as the command line gives it."""

from __future__ import annotations

from typing import NamedTuple

from roujiamo.session.options import LaunchOptions
from roujiamo.session.request import SessionRequest
from roujiamo.session.settings import Settings


class RunOptions(NamedTuple):
    """`request`: the session to start, but for what only its starter knows. `command`: what runs in it.

    `settings`: what both are made of, and who has said so.
    """

    request: SessionRequest
    launch: LaunchOptions
    command: tuple[str, ...]
    settings: Settings
