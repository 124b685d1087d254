"""What a run was asked for, as the command line gives it."""

from __future__ import annotations

from dataclasses import dataclass

from roujiamo.session.options import LaunchOptions
from roujiamo.session.request import SessionRequest
from roujiamo.session.settings import Settings


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """`request`: the session to start, but for what only its starter knows. `command`: what runs in it.

    `settings`: what both are made of, and who has said so.
    """

    request: SessionRequest
    launch: LaunchOptions
    command: tuple[str, ...]
    settings: Settings
