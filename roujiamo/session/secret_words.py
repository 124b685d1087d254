"""Command lines without what looks like a secret in them, as they are shown, logged and kept.

Pure. A guess by names (`--db-password=`, `API_TOKEN=`, `?access_token=`) and by the place in a URL: who writes a secret
into a command line has it in every `ps` anyway, but a record is kept, and a log is sent to others.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

HIDDEN = "…"
# Patterns are compiled (and kept, by `re`) as they are needed: at import they would cost each program 1.5 ms.
# A name's part that makes it a secret's; `keymap`, `passive` and `tokenizer` are none.
_SECRET = (
    r"(?i)keys?(?:[-_]?id)?(?![a-z])|pass(?![a-z])|passw|passphrase|passcode|pwd|tokens?(?![a-z])|secret"
    r"|credential"
)
_PARTS = ("key", "pass", "pwd", "token", "secret", "credential")
_SIGNATURE = r"(?i)sig(?:nature)?$"
_NAME = r"[\w.-]+"
# The shell's own variables, and what names the place of a secret.
_NO_SECRET = r"(?is)(?:OLD)?PWD|.*[-_](?:file|path|dir)"
_SETS_VARIABLE = ("-genv", "-env", "--genv", "--env")
# None of these is tried again within what it has passed: a long word costs no more than its length.
_URL_SECRET = r"(://[^/@:\s]*:)[^/\s]*@"
_PARAMETER = r"([?&])([\w.-]+)=([^&#\s'\"]*)"
# What a shell's word is made of.
_PIECE = r"""(?s)'([^']*)'|"((?:\\.|[^"\\])*)"|\\(.)|([^'"\\]+)"""
_ESCAPED = r"""\\(["\\$`])"""
# A word of a shell's line: with its quotes, and up to what ends a command.
_SHELL_WORD = r"""(?s)(?:'[^']*(?:'|$)|"(?:\\.|[^"\\])*(?:"|\\?$)|\\(?:.|$)|[^\s'"\\;&|()<>])+"""


def without_secrets(words: Iterable[str]) -> list[str]:
    """Return the words of a command line with `…` for what looks like a secret."""
    shown: list[str] = []
    before = before_that = ""
    for word in words:
        bare = before.strip("'\"")
        is_value = _is_secret(bare) and (bare.startswith("-") or before_that in _SETS_VARIABLE)
        shown.append(HIDDEN if is_value and not word.startswith("-") else _shown(word))
        before_that, before = before, word
    return shown


def line_without_secrets(line: str) -> str:
    """Return a shell's line with `…` for what looks like a secret; all else is as it was."""
    line = _urls_without_secrets(line)
    if not _may_hold(line):
        return line
    found = list(re.finditer(_SHELL_WORD, line))
    shown, at = [], 0
    for match, word in zip(found, without_secrets(match[0] for match in found), strict=True):
        shown += [line[at : match.start()], word]
        at = match.end()
    return "".join(shown) + line[at:]


def _is_secret(name: str) -> bool:
    return (
        re.search(_SECRET, name) is not None
        and re.fullmatch(_NAME, name) is not None
        and re.fullmatch(_NO_SECRET, name) is None
    )


def _shown(word: str) -> str:
    name, equals, _ = word.partition("=")
    if equals and _is_secret(name.lstrip("'\"")):
        return f"{name}={HIDDEN}"
    word = _urls_without_secrets(word)
    if not _may_hold(word):
        return word
    # `sh -c 'LINE'`: a word that is a line itself, or has one in quotes.
    if re.fullmatch(_SHELL_WORD, word) is None:
        return line_without_secrets(word)
    inner = _unquoted(word)
    if inner is None:
        # A quote that is not closed.
        inner = re.sub(r"['\"\\]", " ", word)
        return word if line_without_secrets(inner) == inner else HIDDEN
    shown = inner if inner == word else line_without_secrets(inner)
    return word if shown == inner else shlex.quote(shown)


def _may_hold(text: str) -> bool:
    """Tell at little cost, as most lines hold none."""
    lowered = text.lower()
    return any(part in lowered for part in _PARTS)


def _unquoted(word: str) -> str | None:
    """Return what a shell makes of a word (expansions apart), None where a quote is not closed."""
    parts, at = [], 0
    for found in re.finditer(_PIECE, word):
        if found.start() != at:
            return None
        at = found.end()
        single, double, escaped, plain = found.groups()
        if double is not None:
            parts.append(re.sub(_ESCAPED, r"\1", double))
        else:
            parts.append(single or escaped or plain or "")
    return "".join(parts) if at == len(word) else None


def _urls_without_secrets(text: str) -> str:
    if "://" not in text:
        return text
    if "@" in text:
        text = re.sub(_URL_SECRET, rf"\1{HIDDEN}@", text)
    return re.sub(_PARAMETER, _parameter, text) if "?" in text else text


def _parameter(found: re.Match[str]) -> str:
    is_secret = _is_secret(found[2]) or re.search(_SIGNATURE, found[2]) is not None
    return f"{found[1]}{found[2]}={HIDDEN}" if is_secret else found[0]
