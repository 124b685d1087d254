"""Completion in real shells: what a Tab offers at each place of our commands' lines."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from roujiamo.cli import programs
from roujiamo.cli.grammar import PROGRAM
from tests.cli import shells
from tests.cli.shells import Completions

ROOT = Path(__file__).resolve().parents[2]
# What a host or a session may be called by somebody else.
HOSTILE = "x$(>was-run)"
SHELLS = {"bash": shells.bash, "zsh": shells.zsh, "fish": shells.fish}


def script_of(shell: str) -> str:
    """What `roujiamo completion` prints."""
    answer = subprocess.run(
        [sys.executable, "-m", "roujiamo", "completion", shell],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=True,
    )
    return answer.stdout


@pytest.fixture(scope="module", params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Completions]:
    """Each shell there is, with the script loaded, in a folder with a few files, inside an allocation of two hosts."""
    name = request.param
    if shutil.which(name) is None:
        pytest.skip(f"no {name} on this machine (Debian's package {name})")
    folder = tmp_path_factory.mktemp(name)
    script = folder / "completion"
    script.write_text(script_of(name))
    (folder / "a.out").touch(0o755)
    (folder / "host.txt").touch()
    (folder / "hostfolder").mkdir()
    tools = folder / "tools"
    tools.mkdir()
    for command in ("roujiamo", "ompirun.sh", "roujiamo-rsh", "a-program-of-the-user"):
        (tools / command).write_text(f"#!/bin/sh\nprintf '%s\\n' sessions-of-the-user '{HOSTILE}'\n")
        (tools / command).chmod(0o755)
    environment = {
        "PATH": f"{tools}:/usr/bin:/bin",
        "HOME": str(folder),
        "ROUJIAMO_HOSTS": f"agent1,agent2.example,{HOSTILE},h:m:{{>was-run}}",
        "LANG": "C.UTF-8",
    }
    with SHELLS[name](script, folder, environment) as completions:
        yield completions


# A line, what its last word may become, and what not.
OFFERED = [
    ("roujiamo ", {"run", "alloc", "status", "help", "completion"}, {"a.out", "host.txt"}),
    ("roujiamo st", {"status"}, {"run"}),
    ("roujiamo run --contai", {"--containerizer"}, {"--constraint"}),
    ("roujiamo run --no", {"--nodes"}, {"--num"}),
    ("roujiamo run -N 2 --containerizer ", {"mesos", "docker"}, {"host.txt"}),
    ("roujiamo run --containerizer=d", {"--containerizer=docker"}, {"--containerizer=mesos"}),
    ("roujiamo run --secret-file host", {"host.txt"}, {"--host"}),
    ("roujiamo run --secret-file=host", {"--secret-file=host.txt"}, {"--host"}),
    ("roujiamo run --prefix host", {"hostfolder"}, {"host.txt"}),
    ("roujiamo run --mem host", set(), {"host.txt", "hostfolder"}),
    ("roujiamo run --host ", {"agent1", "agent2.example"}, {"host.txt"}),
    ("roujiamo run -N 2 --master loc", {"local"}, {"host.txt"}),
    ("roujiamo alloc -- --no", set(), {"--nodes"}),
    ("roujiamo logs -n 3 --st", {"--stdout", "--stderr"}, {"--lines"}),
    ("roujiamo cancel ", {"sessions-of-the-user"}, {"host.txt"}),
    ("roujiamo help launch", {"launchers"}, {"host.txt"}),
    ("roujiamo completion f", {"fish"}, {"bash"}),
    ("ompirun.sh -N 2 loc", {"local"}, {"host.txt"}),
    ("roujiamo-rsh ag", {"agent1", "agent2.example"}, {"host.txt"}),
    ("roujiamo rsh ag", {"agent1", "agent2.example"}, {"host.txt"}),
    # Not alone on its line, and as a path.
    ("true; roujiamo run --no", {"--nodes"}, {"--num"}),
    ("A=1 roujiamo run -N 2 --contai", {"--containerizer"}, {"--constraint"}),
    ("tools/ompirun.sh -N 2 loc", {"local"}, {"host.txt"}),
    # From the program on the line is the program's.
    ("ompirun.sh -N 2 local:3 a-program-of-", {"a-program-of-the-user"}, {"--nodes"}),
    ("ompirun.sh -N 2 local:3 ./a", {"./a.out"}, {"--nodes"}),
    ("ompirun.sh -N 2 m1:5050,m2:5050 ./a.out host", {"host.txt", "hostfolder"}, {"--host"}),
    ("roujiamo run --master m1:5050 a-program-of-", {"a-program-of-the-user"}, set()),
    ("roujiamo run --master m1:5050 -n4 --spread ./a.out host", {"host.txt", "hostfolder"}, {"--host"}),
    ("roujiamo run --master m1:5050 -- ./a", {"./a.out"}, {"--nodes"}),
    ("roujiamo run --master m1:5050 ./a.out --no", set(), {"--nodes"}),
    ("roujiamo-rsh -l user agent1 a-program-of-", {"a-program-of-the-user"}, {"agent1"}),
]


@pytest.mark.parametrize(("line", "offered", "not_offered"), OFFERED, ids=[row[0] for row in OFFERED])
def test_a_tab_offers_what_may_stand_there(
    shell: Completions, line: str, offered: set[str], not_offered: set[str]
) -> None:
    """As the shell itself completes it, not as the script was meant."""
    words = shell(line)
    assert offered <= words
    assert not not_offered & words


@pytest.mark.parametrize("line", ["roujiamo-rsh x", "roujiamo cancel x", "roujiamo run --host x"])
def test_a_name_is_offered_and_not_run(shell: Completions, line: str) -> None:
    """Hosts and sessions are called what somebody else likes."""
    assert HOSTILE in {word.replace("\\", "") for word in shell(line)}
    shell("roujiamo run --host h")
    assert "was-run" not in shell("roujiamo run --secret-file was")


def test_every_option_of_every_command_is_offered(shell: Completions) -> None:
    """The scripts are made from the parsers, so nobody has to think of them when an option is added."""
    for program in programs():
        for command in program.with_all_below():
            names = {name for flag in command.flags if flag.is_shown for name in flag.names}
            long = {name for name in names if name.startswith("--")}
            assert long <= shell(f"{command.name} --"), command.name


def test_the_program_is_the_last_thing_that_a_line_of_ours_knows() -> None:
    """The scripts' walk ends there; an operand behind it would never be reached."""
    for program in programs():
        for command in program.with_all_below():
            kinds = [operand.value.kind for operand in command.operands]
            assert PROGRAM not in kinds[:-1], command.name


def test_the_script_for_bash_passes_shellcheck(tmp_path: Path) -> None:
    """It is a shell script of ours as those in bin/ are."""
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if shellcheck is None:
        pytest.skip("no shellcheck on this machine (the lint tools' venv has it)")
    script = tmp_path / "completion.bash"
    script.write_text(script_of("bash"))
    checked = subprocess.run(
        [shellcheck, "--shell=bash", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert checked.returncode == 0, checked.stdout


def test_the_names_that_the_scripts_ask_for_are_printed_a_line_each(tmp_path: Path) -> None:
    """With no session there is none, and no complaint that would stand in the middle of a line being typed."""
    for what in ("sessions", "hosts"):
        answer = subprocess.run(
            [sys.executable, "-m", "roujiamo", "completion", what],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(tmp_path), "XDG_RUNTIME_DIR": ""},
        )
        assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
