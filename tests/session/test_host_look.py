"""A look around on a host: the command is run by a real shell, here, and its answer is read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from roujiamo.session import host_look

MPIEXEC = "#!/bin/sh\necho 'mpiexec (OpenRTE) 4.1.8'\n"


def taken(sandbox: Path, /, **wanted: str) -> dict[str, str]:
    """What a look in `sandbox` answers; TMPDIR is there too."""
    command = host_look.look_command(**{"directory": str(sandbox), **wanted})
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=sandbox,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(sandbox)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return host_look.read_look(done.stdout)


def program_at(path: Path, mode: int, text: str = "#!/bin/sh\n") -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_a_host_that_is_well_has_no_troubles_and_is_left_as_it_was(tmp_path: Path) -> None:
    """Its folders are written to for a moment only."""
    (tmp_path / "orted").symlink_to(program_at(tmp_path / "mpiexec", 0o755, MPIEXEC))
    look = taken(tmp_path, folder=str(tmp_path), daemon="orted", mpiexec="mpiexec", program="sh")
    assert host_look.folder_troubles(look) == []
    assert host_look.program_trouble(look, "sh") is None
    assert host_look.mpi_trouble(look, str(tmp_path), "orted") is None
    assert host_look.version_note(look, str(tmp_path), "mpiexec (OpenRTE) 4.1.8") is None
    assert look["folder"] == str(tmp_path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"mpiexec", "orted"}


def test_what_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    """/proc takes no file of anybody's."""
    command = host_look.look_command(directory="/")
    done = subprocess.run(
        ["sh", "-c", command],
        cwd="/proc",
        env={"PATH": "/usr/bin:/bin", "TMPDIR": "/proc"},
        capture_output=True,
        text=True,
    )
    temporary, sandbox = host_look.folder_troubles(host_look.read_look(done.stdout))
    assert "/proc" in temporary
    assert "TMPDIR" in temporary
    assert "sandbox" in sandbox


@pytest.mark.parametrize(
    ("program", "word"),
    [
        ("/no/such/program", "there is no program /no/such/program"),
        ("./not-there", "there is no program ./not-there"),
        ("no-such-program", "on PATH"),
        ("./plain", "cannot be executed"),
        ("./well", None),
        ("well", None),
        ("sh", None),
        ("sh' oh", "on PATH"),
    ],
)
def test_the_ranks_program_is_looked_for_as_launchers_do(
    tmp_path: Path, program: str, word: str | None
) -> None:
    """By its path, from the working directory; by name on PATH, with the MPI's folder first."""
    program_at(tmp_path / "plain", 0o644)
    program_at(tmp_path / "well", 0o755)
    trouble = host_look.program_trouble(taken(tmp_path, program=program, folder=str(tmp_path)), program)
    assert trouble is None if word is None else word in str(trouble)


def test_a_working_directory_that_is_not_there_is_a_note_and_a_reason(tmp_path: Path) -> None:
    """What a relative path means is lost with it."""
    look = taken(tmp_path, directory="/no/such/folder", program="./a.out")
    assert any("/no/such/folder" in note for note in host_look.notes(look, "/no/such/folder"))
    assert "working directory" in str(host_look.program_trouble(look, "./a.out"))


@pytest.mark.parametrize(
    ("mode", "text", "word"),
    [
        (None, "", "orted is not in"),
        (0o644, MPIEXEC, "cannot be executed"),
    ],
)
def test_an_mpi_that_will_not_do_is_told(tmp_path: Path, mode: int | None, text: str, word: str) -> None:
    """Its daemon is missing, or of no use."""
    if mode is not None:
        program_at(tmp_path / "orted", mode, text)
        program_at(tmp_path / "mpiexec", 0o755, text)
    look = taken(tmp_path, folder=str(tmp_path), daemon="orted", mpiexec="mpiexec")
    assert word in str(host_look.mpi_trouble(look, str(tmp_path), "orted"))


def test_another_version_is_a_note(tmp_path: Path) -> None:
    """Neighbours often work together; whether these do, a launch tells."""
    program_at(tmp_path / "mpiexec", 0o755, MPIEXEC.replace("4.1.8", "4.1.4"))
    note = host_look.version_note(
        taken(tmp_path, folder=str(tmp_path), mpiexec="mpiexec"), "/opt/bin", "mpiexec (OpenRTE) 4.1.8"
    )
    assert "/opt/bin is version 4.1.4, and the mpiexec here is 4.1.8" in str(note)


def test_an_answer_that_says_nothing_is_no_trouble() -> None:
    """A host that has no df, no /proc, or no time."""
    for answer in ("", "temporary\nfolder\n", "\x1b[2J nonsense\n" * 1000):
        look = host_look.read_look(answer)
        assert host_look.folder_troubles(look) == []
        assert host_look.program_trouble(look, "a.out") is None
        assert host_look.mpi_trouble(look, "/opt", "orted") is None
        assert host_look.version_note(look, "/opt", "4.1.8") is None
        assert host_look.notes(look, "/") == []
        assert all(value.isprintable() for value in look.values())


def test_limits_and_a_small_shared_memory_are_notes() -> None:
    """Some programs do with that."""
    look = host_look.read_look(
        "shared yes\nshared-free shm 65536 60000 5536 92% /dev/shm\nfiles 64\nprocesses unlimited\n"
    )
    memory, files = host_look.notes(look, "/")
    assert "/dev/shm has 5 MB" in memory
    assert "64 files" in files


def test_arguments_that_move_the_program_are_known() -> None:
    """Then a look for it would look in the wrong place."""
    assert host_look.looks_elsewhere(["--wdir", "/x"])
    assert host_look.looks_elsewhere(["-x", "PATH"])
    assert host_look.looks_elsewhere(["-n", "1", "a", ":", "-n", "1", "b"])
    assert not host_look.looks_elsewhere(["--map-by", "node", "-x", "LANG"])
