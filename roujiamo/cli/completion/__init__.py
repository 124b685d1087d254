"""Completion of the command lines by bash, zsh and fish: each shell's script, made from what the parsers understand.

Runs in the user's shell, once; what it prints runs there at each Tab. A script starts a program of ours only to ask for
the user's sessions and their hosts. Behind the program that is to be run, its own completion takes over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from roujiamo.cli.completion import bash, fish, zsh
from roujiamo.cli.grammar import Command

SCRIPTS: dict[str, Callable[[Sequence[Command]], str]] = {
    "bash": bash.script,
    "zsh": zsh.script,
    "fish": fish.script,
}
