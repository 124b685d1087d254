"""The settings of a session: what each option is, and who has said so.

Pure. The nearest goes before: the command line, the ROUJIAMO_* environment, the user's roujiamo.toml, the system's, and
what nobody sets has its default. A list is taken whole from the nearest that gives one.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from roujiamo.session.options import OPTIONS, Option, from_environment
from roujiamo.session.secret_words import without_secrets

if TYPE_CHECKING:
    from roujiamo.session.configuration import Entry


class Configuration(NamedTuple):
    """What the file at `path` says."""

    path: str
    entries: tuple[Entry, ...]


class Settings:
    """By the options' fields: the `values` that are set, and the `sources` they come from, as the user knows these.

    `files`: the configurations that were read.
    """

    def __init__(self, values: dict[str, Any], sources: dict[str, str], files: tuple[str, ...] = ()) -> None:
        self.values = values
        self.sources = sources
        self.files = files

    def shown(self) -> list[tuple[str, str, str]]:
        """Return option, value and source of each setting, as a user may be shown and a file may keep them."""
        return [
            (option.flags[-1], shown_value(option, self.values[option.field]), self.sources[option.field])
            for option in OPTIONS
            if option.field in self.sources
        ]


def shown_value(option: Option, value: Any) -> str:
    """Return a value as text, without what may be a secret in it."""
    if option.field == "environment":
        # Its values are the ranks' business.
        return " ".join(str(entry).partition("=")[0] for entry in value)
    if option.is_list:
        return shlex.join(without_secrets([str(each) for each in value]))
    if isinstance(value, tuple):
        return "-".join(str(each) for each in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return without_secrets([str(value)])[0]


def gather(
    files: Iterable[Configuration],
    environment: Mapping[str, str],
    given: Mapping[str, tuple[Any, str]],
    *,
    without: Collection[str] = (),
) -> Settings:
    """Return the settings from `files` (the nearest first), `environment` and what is `given` on the command line.

    `given`: value and flag, by field. Nothing is read of the fields `without`. Raises UsageError.
    """
    files = list(files)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for file in reversed(files):
        for entry in file.entries:
            if entry.option.field not in without:
                values[entry.option.field] = entry.value
                sources[entry.option.field] = f"{file.path}:{entry.line}"
    options = [option for option in OPTIONS if option.field not in without]
    said = from_environment(environment, options)
    if environment.get("ROUJIAMO_SECRET") and "secret_file" not in said:
        # The environment's secret goes before a configuration's file.
        values.pop("secret_file", None)
        sources.pop("secret_file", None)
    for option in options:
        if option.field in said:
            values[option.field] = said[option.field]
            sources[option.field] = option.variable
    for name, (value, flag) in given.items():
        values[name] = value
        sources[name] = flag
    return Settings(values, sources, tuple(file.path for file in files))
