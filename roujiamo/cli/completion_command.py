"""`roujiamo completion`: print the script that teaches a shell our command lines, or what such a script asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roujiamo.cli.grammar import Command

SHELLS = ("bash", "zsh", "fish")
EPILOG = """\
examples:
  eval "$(roujiamo completion bash)"        in ~/.bashrc
  source <(roujiamo completion zsh)         in ~/.zshrc, behind compinit
  roujiamo completion fish | source         in ~/.config/fish/config.fish

`sessions` and `hosts` print your sessions on this machine and the hosts of
these, a line each: what the scripts ask for where such a name may stand.
"""


def add(commands: Any, programs: Callable[[], tuple[Command, ...]]) -> None:
    """Add `completion` to the subcommands; `programs()` returns what there is to complete."""
    parser = commands.add_parser(
        "completion",
        help="print the completion script of a shell",
        description="Print what teaches a shell to complete roujiamo, ompirun.sh and roujiamo-rsh.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "shell", choices=(*SHELLS, "sessions", "hosts"), help="whose script, or what names to print"
    )
    parser.set_defaults(function=lambda options: complete(options.shell, programs))


def complete(wanted: str, programs: Callable[[], tuple[Command, ...]]) -> int:
    """Print what is wanted; return the exit status. Raises RoujiamoError."""
    if wanted in SHELLS:
        from roujiamo.cli.completion import SCRIPTS

        print(SCRIPTS[wanted](programs()), end="")
        return 0
    from roujiamo.status.program import choose

    sessions = [session for _, session in choose([])]
    if wanted == "sessions":
        names = [name for session in sessions for name in (session["session"], session["name"])]
    else:
        names = [host["name"] for session in sessions for host in session["hosts"]]
    for name in dict.fromkeys(names):
        print(name)
    return 0
