"""The completion script for zsh: one `_arguments` call a command (zshcompsys(1), _arguments)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from roujiamo.cli.grammar import (
    FILES,
    FOLDERS,
    HOSTS,
    NOTHING,
    PROGRAM,
    SESSIONS,
    WORDS,
    Command,
    Flag,
    Value,
)

_HEAD = """#compdef {names}
# zsh completion for roujiamo, ompirun.sh and roujiamo-rsh, as `roujiamo completion zsh` prints it.
# Use: source <(roujiamo completion zsh) in ~/.zshrc, behind compinit; or save it as _roujiamo in a folder of $fpath.

"""

_TAIL = """
_roujiamo_sessions() {{
  local -a found=(${{(f)"$(_call_program sessions roujiamo completion sessions 2>/dev/null)"}})
  _wanted sessions expl session compadd -a found
}}

# The hosts of the allocation that this shell is in, else of the user's sessions; _list: with commas.
_roujiamo_hosts() {{
  local -a found
  _roujiamo_find_hosts
  _wanted hosts expl host compadd -a found
}}
_roujiamo_hosts_list() {{
  local -a found
  _roujiamo_find_hosts
  # To _values a : begins an action, which is run; and [ a description.
  found=("${{(@)found//(#m)[][:\\\\]/\\\\$MATCH}}")
  _values -s , host $found
}}
_roujiamo_find_hosts() {{
  if [[ -n $ROUJIAMO_HOSTS ]]; then
    found=(${{(s:,:)ROUJIAMO_HOSTS}})
  else
    found=(${{(f)"$(_call_program hosts roujiamo completion hosts 2>/dev/null)"}})
  fi
}}

# A program and its arguments, as if they were typed by themselves; $1 operands stand before them.
_roujiamo_program() {{
  shift $1 words
  (( CURRENT -= $1 ))
  _normal
}}

_roujiamo() {{
  case $service in
{services}
  esac
}}

if [[ $funcstack[1] == _roujiamo ]]; then
  _roujiamo "$@"
else
  compdef _roujiamo {names}
fi
"""

_ACTIONS = {FILES: "_files", FOLDERS: "_files -/", HOSTS: "_roujiamo_hosts", SESSIONS: "_roujiamo_sessions"}


def script(programs: Sequence[Command]) -> str:
    """Return the script for these programs and all their subcommands."""
    names = " ".join(program.name for program in programs)
    parts = [_HEAD.format(names=names)]
    for program in programs:
        for command in program.with_all_below():
            parts += [line + "\n" for line in _function(command)]
    services = "\n".join(f"    {program.name}) {_name(program)} ;;" for program in programs)
    parts.append(_TAIL.format(names=names, services=services))
    return "".join(parts)


def _name(command: Command) -> str:
    return "_roujiamo_of_" + re.sub(r"\W", "_", command.name)


def _function(command: Command) -> Iterator[str]:
    yield f"{_name(command)}() {{"
    yield "  local curcontext=$curcontext state state_descr ret=1"
    yield "  local -a line"
    yield "  local -A opt_args"
    # -S: no options behind `--`; -A: none behind the first operand, where that is the program's business.
    stop = (
        " -A '-*'" if command.commands or any(o.value.kind == PROGRAM for o in command.operands[:1]) else ""
    )
    specs = [_flag(flag) for flag in command.flags] + list(_operands(command))
    yield f"  _arguments -C -s -S{stop} \\"
    yield from (f"    {spec} \\" for spec in specs)
    yield "    && ret=0"
    if command.commands:
        yield "  case $state in"
        yield "    command)"
        yield "      local -a commands=("
        for each in command.commands:
            yield f"        {shlex.quote(f'{each.word}:{each.summary}')}"
        yield "      )"
        yield "      _describe -t commands command commands && ret=0 ;;"
        yield "    argument)"
        yield "      case $line[1] in"
        for each in command.commands:
            yield f"        {each.word}) {_name(each)} && ret=0 ;;"
        yield "      esac ;;"
        yield "  esac"
    yield "  return ret"
    yield "}"
    yield ""


def _flag(flag: Flag) -> str:
    value = "" if flag.value is None else f":{_escaped(flag.value.label)}:{_action(flag.value)}"
    spec = shlex.quote(f"[{_escaped(flag.help)}]{value}")
    before = "*" if flag.is_list else f"({' '.join(flag.names)})" if len(flag.names) > 1 else ""
    # The value may be attached (-N2, --nodes=2) or the next word.
    names = [name + _joint(name) if flag.value is not None else name for name in flag.names]
    which = f"{{{','.join(names)}}}" if len(names) > 1 else names[0]
    # Known, and never offered.
    hidden = "" if flag.is_shown else "!"
    return (shlex.quote(before) if before else "") + hidden + which + spec


def _joint(name: str) -> str:
    return "=" if name.startswith("--") else "+"


def _operands(command: Command) -> Iterator[str]:
    if command.commands:
        yield "'1:command:->command'"
        yield "'*::argument:->argument'"
    for number, operand in enumerate(command.operands, 1):
        label = _escaped(operand.value.label)
        if operand.value.kind == PROGRAM:
            yield f"'(-){number}:program:_command_names -e'"
            yield f"'*::argument:_roujiamo_program {number - 1}'"
        elif operand.is_repeated:
            yield shlex.quote(f"*:{label}:{_action(operand.value)}")
        else:
            yield shlex.quote(f"{number}:{label}:{_action(operand.value)}")


def _action(value: Value) -> str:
    if value.kind == WORDS:
        return f"({' '.join(value.words)})"
    if value.kind == NOTHING:
        return " "
    return _ACTIONS[value.kind] + ("_list" if value.kind == HOSTS and "," in value.label else "")


def _escaped(text: str) -> str:
    """Return the text as it may stand in a specification, where brackets and colons have a meaning."""
    return re.sub(r"([\[\]:\\])", r"\\\1", text)
