"""The text of a roujiamo.toml: from keys to the values of options, each with the line that it stands in.

Pure. The keys are the long names of the options (`roujiamo.session.options`), without their dashes; a value is read as
the command line would read it. What is wrong is told with its line. tomllib tells no lines of what it has understood,
so they are found by what parses up to there.
"""

from __future__ import annotations

import datetime
import difflib
import re
import tomllib
from collections.abc import Iterable
from typing import Any, NamedTuple

from roujiamo.session.option_values import read_switch
from roujiamo.session.options import OPTIONS, Option, read_list

# What many would try first, and must not be in a file that is copied, shown and kept in a repository.
_SECRETS = ("secret", "password", "credential", "token")
_WHERE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


class ConfigurationError(ValueError):
    """What is wrong in line `line` (from 1)."""

    def __init__(self, line: int, sentence: str) -> None:
        super().__init__(sentence)
        self.line = line


class Entry(NamedTuple):
    """One key's `option`, its value as the option reads it, and its line."""

    option: Option
    value: Any
    line: int


def key_names() -> dict[str, tuple[Option, bool]]:
    """Return each key that there is, with its option, and whether a true value switches that on."""
    names = {}
    for option in OPTIONS:
        for flag in (*option.flags, *option.aliases):
            if flag.startswith("--"):
                names[flag.removeprefix("--")] = (option, True)
        for flag in option.off_flags:
            names[flag.removeprefix("--")] = (option, False)
    return names


def parse(text: str, home: str = "") -> list[Entry]:
    """Return what a configuration's text says, in its order. A path of `~/…` is taken from `home`.

    Raises ConfigurationError.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(text, str(error)) from error
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, lists in lists by the thousand: tomllib says no line of these.
        raise ConfigurationError(
            1, "this is no configuration: a number or a list in it is too large"
        ) from error
    names = key_names()
    entries: dict[str, Entry] = {}
    for key, value in values.items():
        line = _line_of(text, key)
        if key not in names:
            raise ConfigurationError(line, _unknown(key, value, names))
        option, is_on = names[key]
        if option.field in entries:
            first = entries[option.field].line
            raise ConfigurationError(line, f"{key} says again what line {first} has said; keep one of them")
        try:
            entries[option.field] = Entry(option, _read(option, value, is_on, home), line)
        except ValueError as error:
            raise ConfigurationError(line, f"{key}: {error}") from error
    return list(entries.values())


def _read(option: Option, value: Any, is_on: bool, home: str) -> Any:
    """Raises ValueError."""
    if isinstance(value, list):
        if not option.is_list:
            raise ValueError("one value, not a list of them")
        return read_list(option, [_text(option, each, home) for each in value])
    text = _text(option, value, home)
    if option.is_list:
        return read_list(option, [text])
    return option.read(text) if is_on else not read_switch(text)


def _text(option: Option, value: Any, home: str) -> str:
    """Return a value as it would stand on a command line. Raises ValueError."""
    if isinstance(value, bool):
        if option.metavar is not None:
            raise ValueError(f"{str(value).lower()} is no {option.metavar}")
        return str(value).lower()
    # `time-limit = 01:30:00` is a time of the day to TOML.
    if isinstance(value, (int, float, datetime.time)):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"a {_kind(value)} where a text or a number should be")
    if "\0" in value:
        raise ValueError("a NUL in it")
    if option.is_path and home and value.startswith("~/"):
        return home.rstrip("/") + value[1:]
    return value


def _kind(value: Any) -> str:
    return {"dict": "table", "list": "list"}.get(type(value).__name__, type(value).__name__)


def _unknown(key: str, value: Any, names: Iterable[str]) -> str:
    if isinstance(value, dict):
        return f"[{key}]: there are no tables in a configuration; write the options' names at its top"
    if key.replace("_", "-").removeprefix("roujiamo-") in _SECRETS:
        return f"{key}: no secret stands in a configuration; name a file that only you can read: secret-file"
    near = did_you_mean(key.replace("_", "-").lower(), names)
    return f"{key}: there is no such option{near or '; `roujiamo run --help` shows them'}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean X?` for what is near enough to `word`, or ""."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _syntax_error(text: str, message: str) -> ConfigurationError:
    found = _WHERE.search(message)
    line = int(found[1]) if found and found[1] else text.count("\n") + (not text.endswith("\n"))
    told = _WHERE.sub("", message)
    if told == "Invalid value":
        told = 'this is no value; a text stands in quotes: master = "m1:5050"'
    return ConfigurationError(max(line, 1), f"this is no TOML: {told}")


def _line_of(text: str, key: str) -> int:
    """Return the line (from 1) in which the top-level `key` stands first."""
    name = re.escape(key)
    pattern = re.compile(rf"""\s*\[?\[?\s*(?:{name}|"{name}"|'{name}')\s*[=.\]]""")
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if pattern.match(line) and _is_whole("\n".join(lines[:number])):
            return number + 1
    return 1


def _is_whole(text: str) -> bool:
    """Tell whether a text ends where a statement may begin, and not within a list or a long text."""
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
