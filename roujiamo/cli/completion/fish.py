"""The completion script for fish, 3.4 or later: one `complete` line an option, with the place where it holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from roujiamo.cli.grammar import FILES, FOLDERS, HOSTS, NOTHING, PROGRAM, SESSIONS, WORDS, Command, Value

_HEAD = """# fish completion for roujiamo, ompirun.sh and roujiamo-rsh, as `roujiamo completion fish` prints it.
# Use: roujiamo completion fish | source in ~/.config/fish/config.fish

"""

_WALK = """
# Walk over the words before the cursor. Sets in its caller: `at`, the command that is being written; `operands`, how
# many it has; `program`, the words from the program on; and `ended`, where a -- has ended the options.
function __roujiamo_walk --no-scope-shadowing
    set -l rest (commandline -opc)
    set at (string replace -r '.*/' '' -- $rest[1])
    set operands 0
    set program
    set ended no
    set -e rest[1]
    while set -q rest[1]
        set -l word $rest[1]
        if test $ended = no; and test "$word" = --
            set ended yes
        else if test $ended = no; and string match -q -- '-?*' $word
            if contains -- $word (__roujiamo_valued $at)
                set -e rest[1]
            end
        else if __roujiamo_has_commands $at
            set at "$at $word"
        else if test "$operands" = (__roujiamo_program_place $at)
            set program $rest
            return
        else
            set operands (math $operands + 1)
        end
        set -e rest[1]
    end
end

# Whether the command $argv[1] is being written, and, where $argv[2] is there, so many operands of it are.
function __roujiamo_is
    set -l at; set -l operands; set -l program; set -l ended
    __roujiamo_walk
    test "$at" = $argv[1]; and not set -q program[1]; or return 1
    not set -q argv[2]; or test $operands = $argv[2]
end

# The same for options: not behind a --.
function __roujiamo_takes_options
    set -l at; set -l operands; set -l program; set -l ended
    __roujiamo_walk
    test "$at" = $argv[1]; and not set -q program[1]; and test "$ended" = no
end

# Whether the cursor is in the program of $argv[1], or its arguments.
function __roujiamo_in_program
    set -l at; set -l operands; set -l program; set -l ended
    __roujiamo_walk
    test "$at" = $argv[1]; or return 1
    set -q program[1]; or test "$operands" = (__roujiamo_program_place $at)
end

# The program and its arguments, as if they were typed by themselves.
function __roujiamo_program
    set -l at; set -l operands; set -l program; set -l ended
    __roujiamo_walk
    # Not -C: that takes no word that begins with a dash.
    complete --do-complete="$(string join ' ' -- (string escape -- $program) (commandline -ct))"
end

# The hosts of the allocation that this shell is in, else of the user's sessions.
function __roujiamo_hosts
    if set -q ROUJIAMO_HOSTS
        string split , -- $ROUJIAMO_HOSTS
    else
        roujiamo completion hosts 2>/dev/null
    end
end

"""

_VALUES = {
    FILES: "-r -F",
    FOLDERS: "-x -a '(__fish_complete_directories)'",
    HOSTS: "-x -a '(__roujiamo_hosts)'",
    SESSIONS: "-x -a '(roujiamo completion sessions 2>/dev/null)'",
    NOTHING: "-x",
}


def script(programs: Sequence[Command]) -> str:
    """Return the script for these programs and all their subcommands."""
    commands = [command for program in programs for command in program.with_all_below()]
    lines = list(
        _switch("__roujiamo_valued", "The options of a command that have a value.", _valued(commands))
    )
    lines += _switch(
        "__roujiamo_program_place", "How many operands come before the program.", _places(commands)
    )
    lines.append("function __roujiamo_has_commands")
    parents = " ".join(_quoted(command.name) for command in commands if command.commands)
    lines += [f'    contains -- "$argv" {parents}', "end"]
    rules = []
    for program in programs:
        rules.append(f"complete -c {program.name} -f")
        for command in program.with_all_below():
            rules += _rules(program.name, command)
    return _HEAD + "\n".join(lines) + "\n" + _WALK + "\n".join(rules) + "\n"


def _switch(name: str, what: str, cases: dict[str, list[str]]) -> Iterator[str]:
    yield f"# {what}"
    yield f"function {name}"
    yield '    switch "$argv"'
    for case, words in cases.items():
        if words:
            yield f"        case {_quoted(case)}"
            yield f"            printf '%s\\n' {' '.join(words)}"
    yield "    end"
    yield "end"
    yield ""


def _valued(commands: Sequence[Command]) -> dict[str, list[str]]:
    return {
        command.name: [name for flag in command.flags if flag.value is not None for name in flag.names]
        for command in commands
    }


def _places(commands: Sequence[Command]) -> dict[str, list[str]]:
    return {
        command.name: [
            str(number) for number, operand in enumerate(command.operands) if operand.value.kind == PROGRAM
        ]
        for command in commands
    }


def _rules(program: str, command: Command) -> Iterator[str]:
    start = f"complete -c {program} -n"
    name = _quoted(command.name)
    for each in command.commands:
        yield f"{start} {_condition('__roujiamo_is', name)} -a {each.word} -d {_quoted(each.summary)}"
    for flag in command.flags:
        if flag.is_shown:
            names = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in flag.names]
            value = "" if flag.value is None else " " + _value(flag.value)
            condition = _condition("__roujiamo_takes_options", name)
            yield f"{start} {condition} {' '.join(names)}{value} -d {_quoted(flag.help)}"
    for number, operand in enumerate(command.operands):
        place = "" if operand.is_repeated else f" {number}"
        if operand.value.kind == PROGRAM:
            yield f"{start} {_condition('__roujiamo_in_program', name)} -a '(__roujiamo_program)'"
        elif operand.value.kind != NOTHING:
            yield f"{start} {_condition('__roujiamo_is', name + place)} {_operand(operand.value)}"


def _condition(function: str, arguments: str) -> str:
    return _quoted(f"{function} {arguments}")


def _value(value: Value) -> str:
    return f"-x -a {_quoted(' '.join(value.words))}" if value.kind == WORDS else _VALUES[value.kind]


def _operand(value: Value) -> str:
    # Not an option's value, so none is required; -F where files may be meant.
    return _value(value).removeprefix("-x ").removeprefix("-r ")


def _quoted(text: str) -> str:
    """Return the text in fish's single quotes, in which only these two characters mean something."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
