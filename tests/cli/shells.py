"""The users' shells, for completion: real ones, interactive on a terminal of their own, with a Tab that shows all.

Imported by the test process only. bash and zsh are typed to: the line, a key that puts every completion into the line
(readline's insert-completions, zsh's _all_matches), and a key that writes the line to a file. fish tells by itself.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.support import until

_BASH = r"""
bind 'set enable-bracketed-paste off'
bind 'set bell-style none'
bind '"\C-t": insert-completions'
__tell() { printf '%s\n' "$READLINE_LINE" >"$ANSWER.new"; mv "$ANSWER.new" "$ANSWER"; }
bind -x '"\C-g": __tell'
"""
_ZSH = r"""
autoload -Uz compinit && compinit -D -u
unset zle_bracketed_paste
zle -C all-matches complete-word _generic
zstyle ':completion:all-matches:*' completer _all_matches _complete
zstyle ':completion:all-matches:*' insert yes
bindkey '^T' all-matches
__tell() { print -r -- "$BUFFER" >"$ANSWER.new"; command mv "$ANSWER.new" "$ANSWER" }
zle -N __tell
bindkey '^G' __tell
"""
Completions = Callable[[str], set[str]]


@contextlib.contextmanager
def bash(script: Path, folder: Path, environment: Mapping[str, str]) -> Iterator[Completions]:
    """A function from a line to the words that may stand at its end, as bash completes it with `script` loaded."""
    start = folder / "bashrc"
    start.write_text(f"{_BASH}source {script}\n")
    with _typed(["bash", "--noprofile", "--rcfile", str(start), "-i"], folder, environment) as completions:
        yield completions


@contextlib.contextmanager
def zsh(script: Path, folder: Path, environment: Mapping[str, str]) -> Iterator[Completions]:
    """The same of zsh."""
    (folder / ".zshrc").write_text(f"{_ZSH}source {script}\n")
    variables = {**environment, "ZDOTDIR": str(folder)}
    with _typed(["zsh", "-d", "-i"], folder, variables) as completions:
        yield completions


@contextlib.contextmanager
def fish(script: Path, folder: Path, environment: Mapping[str, str]) -> Iterator[Completions]:
    """The same of fish."""

    def completions(line: str) -> set[str]:
        answer = subprocess.run(
            ["fish", "--no-config", "-c", f"source {script}; complete -C $argv[1]", line],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            env=dict(environment),
            cwd=folder,
        )
        assert (answer.returncode, answer.stderr) == (0, ""), answer.stderr
        return {_bare(row.partition("\t")[0]) for row in answer.stdout.splitlines()}

    yield completions


@contextlib.contextmanager
def _typed(command: list[str], folder: Path, environment: Mapping[str, str]) -> Iterator[Completions]:
    answer = folder / "answer"
    terminal, far_end = pty.openpty()
    process = subprocess.Popen(
        command,
        stdin=far_end,
        stdout=far_end,
        stderr=far_end,
        env={**environment, "ANSWER": str(answer), "TERM": "dumb", "HISTFILE": ""},
        cwd=folder,
        start_new_session=True,
    )
    os.close(far_end)
    seen = bytearray()
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            if select.select([terminal], [], [], 0.1)[0]:
                # EIO: the shell is gone (pty(7)).
                with contextlib.suppress(OSError):
                    seen.extend(os.read(terminal, 65536))

    reader = threading.Thread(target=read)
    reader.start()

    def completions(line: str) -> set[str]:
        answer.unlink(missing_ok=True)
        # ^U: an empty line first; ^T and ^G are the two keys above.
        os.write(terminal, b"\x15" + line.encode() + b"\x14\x07")
        until(answer.exists, 20, f"an answer to {line!r}; the terminal shows {bytes(seen[-2000:])!r}")
        whole = answer.read_text()
        answer.unlink()
        kept = line.rpartition(" ")[0]
        assert whole.startswith(kept), whole
        return {_bare(word) for word in whole.removeprefix(kept).split()}

    try:
        yield completions
    finally:
        process.kill()
        process.wait()
        is_over.set()
        reader.join()
        os.close(terminal)


def _bare(word: str) -> str:
    """The word without what a shell puts behind it and takes away again: a folder's slash, = and a comma."""
    return word.rstrip("/=,")
