"""The command lines: help that fits a terminal, names as srun and mpirun have them, mistakes that are understood."""

from __future__ import annotations

import argparse
import re

import pytest

import roujiamo
from roujiamo.cli import main, main_parser, ompirun_main
from roujiamo.cli.run_command import ompirun_parser
from roujiamo.cli.session_options import user_command
from roujiamo.session.options import OPTIONS, default_of


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Each parser, by the command that it is of."""
    found = {"roujiamo": main_parser(), "ompirun.sh": ompirun_parser()}
    for action in found["roujiamo"]._actions:
        if isinstance(action, argparse._SubParsersAction):
            found.update({f"roujiamo {name}": parser for name, parser in action.choices.items()})
    return found


def said(
    capsys: pytest.CaptureFixture[str], *arguments: str, program: str = "roujiamo"
) -> tuple[int, str, str]:
    """Run a command line that ends early."""
    try:
        status = (main if program == "roujiamo" else ompirun_main)(arguments)
    except SystemExit as end:
        status = int(end.code or 0)
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.parametrize("name", parsers())
@pytest.mark.parametrize("columns", ["80", "200"])
def test_help_fits_80_columns(name: str, columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However wide the terminal is: long lines are hard to read."""
    monkeypatch.setenv("COLUMNS", columns)
    text = parsers()[name].format_help()
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", ["ompirun.sh", "roujiamo run", "roujiamo alloc", "roujiamo doctor"])
def test_each_option_is_shown_with_its_variable_and_its_default(name: str) -> None:
    """One need not look elsewhere."""
    text = parsers()[name].format_help()
    for option in OPTIONS:
        if option.flags[-1] in parsers()[name]._option_string_actions:
            flag = re.escape(option.flags[-1])
            shown = re.search(rf"^  (?:-\w, )?{flag}[ \n].*?\[\$(\w+)\]", text, re.MULTILINE | re.DOTALL)
            assert shown is not None, option
            assert shown[1] == option.variable
            default = default_of(option)
            if isinstance(default, float) and default:
                assert f"(default: {default:g})" in " ".join(shown[0].split())


@pytest.mark.parametrize("name", ["roujiamo", "ompirun.sh", "roujiamo run", "roujiamo alloc"])
def test_help_has_examples(name: str) -> None:
    """What most people read first, and last."""
    assert f"\nexamples:\n  {name}" in parsers()[name].format_help()


@pytest.mark.parametrize("name", parsers())
def test_each_command_tells_its_version(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` behind any of them; rsh is the shim's own."""
    program, *command = name.split()
    if command == ["rsh"]:
        pytest.skip("a program of its own")
    assert said(capsys, *command, "--version", program=program) == (
        0,
        f"{program} {roujiamo.__version__}\n",
        "",
    )


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("rnu", "roujiamo: there is no command rnu; did you mean run?"),
        ("run --nodez 2 x", "roujiamo run: there is no option --nodez; did you mean --nodes?"),
        (
            "run --constrain=a==b --prefx x y",
            "roujiamo run: there is no option --prefx; did you mean --prefix?",
        ),
        ("status --jsn", "roujiamo status: there is no option --jsn; did you mean --json?"),
        ("run -Z x", "roujiamo run: there is no option -Z; `roujiamo run --help` shows what there is"),
        (
            "run --nodes",
            "roujiamo run: --nodes: a value is missing; `roujiamo run --help` shows what there is",
        ),
        ("run -N many x", "roujiamo run: --nodes: 'many' is not a number from 1 to 1000000"),
        ("run -n x y", "roujiamo run: --num: 'x' is not a number from 1 to 1000000"),
        (
            "run --nodelist",
            "roujiamo run: --host: a value is missing; `roujiamo run --help` shows what there is",
        ),
        ("run --nodelst a x", "roujiamo run: there is no option --nodelst; did you mean --nodes?"),
        ("alloc --exclusive=3", "roujiamo alloc: --exclusive: it takes no value, and '3' is one"),
        ("run --me 3 x", "roujiamo run: --me: which one is meant, --mem, --mem-per-host?"),
        (
            "doctor x",
            "roujiamo doctor: x: there is no use for this word here; `roujiamo doctor --help` shows what there is",
        ),
        ("", "roujiamo: COMMAND is missing; `roujiamo --help` shows what there is"),
    ],
)
def test_a_mistake_is_one_sentence(line: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With what was meant, where that can be guessed; and status 2."""
    assert said(capsys, *line.split()) == (2, "", f"{sentence}\n")


@pytest.mark.parametrize(
    "line",
    [
        "-N 2 -n 4 -c 2 -m 100",
        "--nodes 2 --ntasks 4 --cpus-per-task 2 --mem 100",
        "-N2 -np 4 -c2 --mem=100",
        "--nodes=2 --np 4 --cpus-per-task=2 -m100",
    ],
)
def test_sizes_have_the_names_of_srun_and_of_mpirun(line: str) -> None:
    """srun(1): -N, -n, -c, --nodes, --ntasks, --mem; mpirun(1): -n, -np, --np."""
    given = parsers()["roujiamo run"].parse_args([*line.split(), "./a.out"])
    assert (given.nodes, given.processes, given.cpus_per_process, given.mem_per_process) == (2, 4, 2, 100)


@pytest.mark.parametrize(
    "line",
    [
        ["-N", "2", "./a.out", "-v", "--", "-n"],
        ["-N", "2", "--", "./a.out", "-v", "--", "-n"],
    ],
)
def test_all_behind_the_program_is_the_programs(line: list[str]) -> None:
    """With or without the `--` before it, and a `--` of its own stays."""
    given = parsers()["roujiamo run"].parse_args(line)
    assert user_command(given) == ["./a.out", "-v", "--", "-n"]
    given = parsers()["ompirun.sh"].parse_args([*line[:2], "local", *line[2:]])
    assert (given.master, user_command(given)) == ("local", ["./a.out", "-v", "--", "-n"])
