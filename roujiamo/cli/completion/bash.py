"""The completion script for bash, 4.3 or later.

bash hands over the words of the line, cut at `=` and `:` too (COMP_WORDBREAKS), and knows nothing of options. So the
script has the commands' grammar as two functions of `case`, and walks the line with it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from roujiamo.cli.grammar import NOTHING, WORDS, Command, Value

_HEAD = r"""# bash completion for roujiamo, ompirun.sh and roujiamo-rsh, as `roujiamo completion bash` prints it.
# Use: eval "$(roujiamo completion bash)" in ~/.bashrc

"""

_WALK = r"""
_roujiamo() {
    local i word rest line at cur kept broken ended='' options='' valued='' commands='' operands='' kind=''
    local -a words=() starts=() found=()
    COMPREPLY=()
    # bash has cut the words at = and : too; those without a blank between them belong together.
    rest=$COMP_LINE
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        line=${rest#"${rest%%[![:blank:]]*}"}
        if ((i)) && [[ $rest == "$line" && -n $word ]]; then
            words[-1]+=$word
        else
            words+=("$word")
            starts+=("$i")
        fi
        rest=${line#*"$word"}
    done
    cur=${words[-1]}
    # What stands of the current word before the part that bash would replace.
    case ${COMP_WORDS[COMP_CWORD]} in
        = | :) broken=$cur ;;
        *) broken=${cur%"${COMP_WORDS[COMP_CWORD]}"} ;;
    esac
    kept=
    at=${words[0]##*/}
    _roujiamo_command "$at"
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        word=${words[i]}
        if [[ -z $ended && $word == -- ]]; then
            ended=yes
        elif [[ -z $ended && $word == -?* ]]; then
            if [[ " $valued " == *" $word "* ]]; then
                ((++i))
                if ((i == ${#words[@]} - 1)); then
                    _roujiamo_value "$at $word"
                    _roujiamo_complete
                    return
                fi
            fi
        elif [[ -n $commands ]]; then
            at+=" $word"
            _roujiamo_command "$at"
        elif [[ ${operands%% *} == program ]]; then
            _roujiamo_program "$i"
            return
        elif [[ $operands != *'...' ]]; then
            operands=${operands#* }
        fi
    done
    if [[ -z $ended && $cur == --*=* ]]; then
        kept=${cur%%=*}=
        cur=${cur#*=}
        _roujiamo_value "$at ${kept%=}"
        _roujiamo_complete
    elif [[ -z $ended && $cur == -* ]]; then
        kind="words $options"
        _roujiamo_complete
    elif [[ -n $commands ]]; then
        kind="words $commands"
        _roujiamo_complete
    elif [[ ${operands%% *} == program ]]; then
        _roujiamo_program "$((${#words[@]} - 1))"
    else
        word=${operands%% *}
        _roujiamo_value "$at ${word%...}"
        _roujiamo_complete
    fi
}

# The program that starts at the word $1, and its arguments: as if they were typed by themselves.
_roujiamo_program() {
    if declare -F _comp_command_offset >/dev/null; then
        _comp_command_offset "${starts[$1]}"
    elif declare -F _command_offset >/dev/null; then
        _command_offset "${starts[$1]}"
    elif (($1 == ${#words[@]} - 1)); then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(
            compgen -A command -- "$cur"
            compgen -A file -- "$cur"
        )
    else
        compopt -o default 2>/dev/null
    fi
}

# Fill COMPREPLY with what is of the kind `kind` and begins as `cur` does.
_roujiamo_complete() {
    local each
    case $kind in
        hosts | files) [[ $kind == hosts ]] && each=, || each=:
            kept+=${cur%"${cur##*"$each"}"}
            cur=${cur##*"$each"} ;;
    esac
    case $kind in
        words*) mapfile -t found < <(compgen -W "${kind#words }" -- "$cur") ;;
        files) mapfile -t found < <(compgen -A file -- "$cur") ;;
        folders) mapfile -t found < <(compgen -A directory -- "$cur") ;;
        hosts | sessions)
            # Names that others have given: compgen -W would expand them, and run a $(…) in them.
            while IFS= read -r each; do
                printf -v each %q "$each"
                [[ $each != "''" && $each == "$cur"* ]] && found+=("$each")
            done < <("_roujiamo_$kind") ;;
    esac
    [[ $kind == files || $kind == folders ]] && compopt -o filenames 2>/dev/null
    for each in "${found[@]}"; do
        each=$kept$each
        COMPREPLY+=("${each#"$broken"}")
    done
}

# The hosts of the allocation that this shell is in, else of the user's sessions.
_roujiamo_hosts() {
    if [[ -n ${ROUJIAMO_HOSTS-} ]]; then
        printf '%s\n' "${ROUJIAMO_HOSTS//,/$'\n'}"
    elif [[ ${words[0]##*/} == roujiamo ]]; then
        "${words[0]}" completion hosts 2>/dev/null
    fi
}

_roujiamo_sessions() {
    "${words[0]}" completion sessions 2>/dev/null
}

"""


def script(programs: Sequence[Command]) -> str:
    """Return the script for these programs and all their subcommands."""
    commands = [command for program in programs for command in program.with_all_below()]
    lines = [
        "# What the command $1 understands: its options, those with a value, its subcommands, its operands.",
        "_roujiamo_command() {",
        "    options='' valued='' commands='' operands=''",
        "    case $1 in",
    ]
    for command in commands:
        lines += _command(command)
    lines += [
        "    esac",
        "}",
        "",
        "# What the value of $1, a command's option or operand, may be.",
        "_roujiamo_value() {",
        "    kind=nothing",
        "    case $1 in",
    ]
    for command in commands:
        lines += _values(command)
    lines += ["    esac", "}", ""]
    names = " ".join(program.name for program in programs)
    return _HEAD + "\n".join(lines) + _WALK + f"complete -F _roujiamo {names}\n"


def _command(command: Command) -> Iterator[str]:
    yield f"        {shlex.quote(command.name)})"
    rows = {
        "options": [name for flag in command.flags if flag.is_shown for name in flag.names],
        "valued": [name for flag in command.flags if flag.value is not None for name in flag.names],
        "commands": [each.word for each in command.commands],
        "operands": list(_operands(command)),
    }
    for name, words in rows.items():
        if words:
            yield f"            {name}={shlex.quote(' '.join(words))}"
    yield "            ;;"


def _operands(command: Command) -> Iterator[str]:
    for operand in command.operands:
        if operand.value.kind == "program":
            yield "program"
        else:
            yield _word(operand.value) + ("..." if operand.is_repeated else "")


def _word(value: Value) -> str:
    """The name of an operand as one word."""
    return value.label.split()[0]


def _values(command: Command) -> Iterator[str]:
    for flag in command.flags:
        if flag.value is not None and flag.value.kind != NOTHING:
            names = " | ".join(shlex.quote(f"{command.name} {name}") for name in flag.names)
            yield f"        {names}) kind={_kind(flag.value)} ;;"
    for operand in command.operands:
        if operand.value.kind not in ("program", NOTHING):
            yield f"        {shlex.quote(f'{command.name} {_word(operand.value)}')}) kind={_kind(operand.value)} ;;"


def _kind(value: Value) -> str:
    return shlex.quote(" ".join((WORDS, *value.words))) if value.kind == WORDS else value.kind
