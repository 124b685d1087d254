"""The man page roujiamo(1), as roff in the man(7) macros, made from what the parsers understand."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence

import roujiamo
from roujiamo.cli.grammar import Command, Flag, Operand

# Whose options the others are compared with.
_FULL = "roujiamo run"
_ABOUT = """\
roujiamo runs an unmodified MPI program, under a stock Open MPI, MPICH or Intel MPI, in tasks of Apache Mesos. It
allocates hosts, runs mpiexec over them with itself as the rsh agent, and cleans up. The agents need a python3 and the
MPI, and nothing of roujiamo."""
_LICENCE = "MIT."
_LINE = 80
# Every command has them; nobody looks them up here.
_EVERYWHERE = ("--help", "--version")


def manual(programs: Sequence[Command], topics: Mapping[str, str]) -> str:
    """Return the page: every command with every option; `topics` are the pages of `roujiamo help`."""
    main, *others = programs
    everything = [*main.commands, *others]
    full = next(command for command in everything if command.name == _FULL)
    lines = [
        f'.TH ROUJIAMO 1 "" "roujiamo {roujiamo.__version__}" "User Commands"',
        ".SH NAME",
        r"roujiamo, ompirun.sh, roujiamo\-rsh \- run unmodified MPI programs on Apache Mesos",
        ".SH SYNOPSIS",
    ]
    for number, command in enumerate(everything):
        lines += [".br"] if number else []
        lines.append(_text(_synopsis(command)))
    lines += [".SH DESCRIPTION", *_paragraph(_ABOUT), ".SH COMMANDS"]
    for command in everything:
        lines += _command(command, full)
    lines += [".SH OPTIONS OF A SESSION", *_paragraph(f"What {_names(everything, full)} take.")]
    for group in dict.fromkeys(flag.group for flag in _session_flags(full)):
        lines += [f'.SS "{_text(group.capitalize())}"']
        for flag in _session_flags(full):
            if flag.group == group:
                lines += _flag(flag)
    lines += [".SH EXAMPLES", ".nf"]
    lines += [
        _text(line.strip()) for line in main.epilog.partition("examples:\n")[2].split("\n\n")[0].splitlines()
    ]
    lines += [".fi", ".SH ENVIRONMENT"]
    lines += _paragraph(
        "Each option of a session has a variable, in brackets behind its description: it says what the option "
        "says, where the command line does not. An empty one says nothing. One of an option that may be given "
        "again holds its values as words of a shell."
    )
    lines += [".SH FILES", ".TP", ".I ~/.config/roujiamo/roujiamo.toml, /etc/roujiamo/roujiamo.toml"]
    lines += _paragraph(
        "What is the same for every run: the options' long names as keys. The first goes before the second, and "
        "both come after the environment; ROUJIAMO_CONFIG names another file in place of both."
    )
    lines += [".SH SEE ALSO"]
    lines += _paragraph("mpiexec(1), ssh(1). The documents are in the package:")
    for name, title in topics.items():
        lines += [".TP", f".B roujiamo help {_text(name)}", _text(title)]
    lines += [".SH LICENCE", _LICENCE]
    return "\n".join(lines) + "\n"


def _synopsis(command: Command) -> str:
    usage = " ".join(command.usage.split()).replace(" [-h]", "").replace(" [-V]", "")
    if len(usage) <= _LINE:
        return usage
    # What argparse has made of dozens of options; they have their own section.
    return " ".join([command.name, "[options]", *(operand.value.label for operand in command.operands)])


def _session_flags(full: Command) -> list[Flag]:
    return [flag for flag in full.flags if flag.is_shown and flag.names[-1] not in _EVERYWHERE]


def _names(commands: Sequence[Command], full: Command) -> str:
    names = [command.name for command in commands if _shares(command, full)]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _shares(command: Command, full: Command) -> bool:
    """Whether most of the options are those of a session."""
    return len(set(command.flags) & set(_session_flags(full))) > len(_session_flags(full)) / 2


def _command(command: Command, full: Command) -> Iterator[str]:
    yield f'.SS "{_text(command.name)}"'
    yield from _paragraph(command.description or command.summary)
    shared = _session_flags(full) if _shares(command, full) else []
    own = [
        flag
        for flag in command.flags
        if flag not in shared and flag.is_shown and flag.names[-1] not in _EVERYWHERE
    ]
    for operand in command.operands:
        if operand.help:
            yield from _operand(operand)
    for flag in own:
        yield from _flag(flag)
    if shared:
        lacking = [flag for flag in shared if flag not in command.flags]
        but = f", but {' and '.join(flag.names[-1] for flag in lacking)}" if lacking else ""
        if own or command.operands:
            yield ".PP"
        yield from _paragraph(f"Besides: the options of a session, below{but}.")
    if command.epilog:
        # Examples and tables keep their lines.
        yield from (".PP", ".nf")
        yield from map(_text, command.epilog.splitlines())
        yield ".fi"


def _operand(operand: Operand) -> Iterator[str]:
    yield from (".TP", rf"\fI{_text(operand.value.label)}\fR", _text(operand.help))


def _flag(flag: Flag) -> Iterator[str]:
    names = ", ".join(rf"\fB{_text(name)}\fR" for name in flag.names)
    value = "" if flag.value is None else rf" \fI{_text(_label(flag))}\fR"
    yield from (".TP", names + value, _text(flag.help) or r"\&")


def _label(flag: Flag) -> str:
    assert flag.value is not None
    return "|".join(flag.value.words) if len(flag.value.words) > 1 else flag.value.label


def _paragraph(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(text.split("\n\n")):
        if number:
            yield ".PP"
        yield from map(_text, textwrap.wrap(paragraph, _LINE - 8, break_on_hyphens=False))


def _text(text: str) -> str:
    """Return the text as roff reads it as itself: no escape, no hyphenation of an option, no request."""
    text = re.sub(r"[\\]", r"\\e", text).replace("-", r"\-").replace("…", "...").replace("×", r"\(mu")
    text = text.replace("'", r"\(aq").replace("`", r"\(ga").replace('"', r"\(dq").replace("^", r"\(ha")
    text = text.replace("~", r"\(ti")
    return rf"\&{text}" if text.startswith(".") else text
