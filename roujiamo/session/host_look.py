"""A look around on a host: the shell command that takes it, and what its answer means.

Pure; used by `roujiamo doctor --trial`, and by `roujiamo run` where mpiexec has failed and nobody has said why. The
command needs no more than a POSIX shell. Each line of its answer is a name and a value; what the host could not tell is
not there, and says nothing.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from roujiamo.session.explanations import elsewhere

# Less than that is not worth a word; ranks on one host talk through /dev/shm.
ENOUGH_SHARED_MB = 64
ENOUGH_FILES = 256
ENOUGH_PROCESSES = 128
MAX_ANSWER = 8192

_YES, _NO, _NOT_EXECUTABLE = "yes", "no", "not executable"

_SCRIPT = """\
written() {
    if (echo roujiamo >"$2/.roujiamo-$$") 2>/dev/null; then echo "$1 yes"; else echo "$1 no"; fi
    rm -f "$2/.roujiamo-$$"
}
free() { echo "$1 $(df -Pk "$2" 2>/dev/null | tail -n 1)"; }
executable() {
    if [ -f "$2" ] && [ -x "$2" ]; then echo "$1 yes"
    elif [ -e "$2" ]; then echo "$1 not executable"
    else echo "$1 no"; fi
}
echo "folder ${TMPDIR:-/tmp}"
written temporary "${TMPDIR:-/tmp}"
written shared /dev/shm
written sandbox .
free temporary-free "${TMPDIR:-/tmp}"
free shared-free /dev/shm
while read -r what kind value rest; do
    case "$what $kind" in
    "Max processes") echo "processes $value" ;;
    "Max open") set -- $rest; echo "files ${1:-}" ;;
    esac
done </proc/self/limits 2>/dev/null
"""


def look_command(
    *, directory: str, program: str = "", folder: str = "", daemon: str = "", mpiexec: str = ""
) -> str:
    """Return the command, for `sh -c` in the sandbox.

    `directory`: the launcher's working directory, from which ranks start. `program`: theirs, "" to pass over it.
    `folder`: where the MPI's programs are, `daemon` its daemon's name, `mpiexec` whose version is wanted; "" likewise.
    """
    script = _SCRIPT
    script += f"here={shlex.quote(directory)}\n"
    script += 'if [ -d "$here" ]; then echo "directory yes"; else echo "directory no"; fi\n'
    if daemon:
        script += f"executable daemon {shlex.quote(f'{folder}/{daemon}')}\n"
    if mpiexec:
        quoted = shlex.quote(f"{folder}/{mpiexec}")
        script += (
            f'[ ! -x {quoted} ] || {quoted} --version 2>&1 </dev/null | head -n 3 | sed "s/^/version /"\n'
        )
    if "/" in program:
        script += f'(cd "$here" 2>/dev/null; executable program {shlex.quote(program)})\n'
    elif program:
        path = f"PATH={shlex.quote(folder)}:$PATH; " if folder else ""
        found = f"command -v {shlex.quote(program)} >/dev/null 2>&1"
        script += f'({path}if {found}; then echo "program yes"; else echo "program no"; fi)\n'
    return script


def read_look(answer: str) -> dict[str, str]:
    """Return the values of an answer by name; those of a name that comes again stand behind one another."""
    look: dict[str, str] = {}
    for line in answer[:MAX_ANSWER].splitlines():
        name, _, value = line.partition(" ")
        value = "".join(each if each.isprintable() else " " for each in value).strip()
        look[name] = f"{look[name]} {value}" if name in look else value
    return look


def folder_troubles(look: Mapping[str, str]) -> list[str]:
    """Return a sentence for each folder that a daemon must write to and cannot."""
    troubles = []
    folder = look.get("folder", "/tmp")
    if look.get("temporary") == _NO:
        full = " (the disk is full)" if _free_mb(look.get("temporary-free", "")) == 0 else ""
        troubles.append(
            f"nothing can be written to {folder}{full}; name another folder with --env TMPDIR=DIR"
        )
    if look.get("shared") == _NO:
        troubles.append(
            "nothing can be written to /dev/shm; free it, mount it, or give the container one of its own (--shm-size)"
        )
    if look.get("sandbox") == _NO:
        troubles.append(
            "nothing can be written to the task's sandbox; free that disk, or --exclude the agent"
        )
    return troubles


def program_trouble(look: Mapping[str, str], program: str) -> str | None:
    """Return a sentence where the ranks' program cannot be started there."""
    if look.get("program") == _NOT_EXECUTABLE:
        return f"{program} is there but cannot be executed; set its mode (chmod +x)"
    if look.get("program") != _NO:
        return None
    where = (
        " from the launcher's working directory, which is not there" if look.get("directory") == _NO else ""
    )
    if "/" not in program:
        return (
            f"there is no program {program} on PATH; name it by its path, or bring it there (--uri, --image)"
        )
    lost = where if not program.startswith("/") else ""
    return f"there is no program {program}{lost}; put it where the hosts share files, or bring it (--uri, --image)"


def mpi_trouble(look: Mapping[str, str], folder: str, daemon: str) -> str | None:
    """Return a sentence where the MPI's daemon cannot be started there."""
    if look.get("daemon") == _NO:
        return f"{daemon} is not in {folder}; install the MPI as it is here, {elsewhere(daemon)}"
    if look.get("daemon") == _NOT_EXECUTABLE:
        return f"{folder}/{daemon} cannot be executed; look at its mode, and whether the file system is mounted noexec"
    return None


def version_note(look: Mapping[str, str], folder: str, version: str) -> str | None:
    """Return a sentence where the MPI there is not the one here; `version`: what the mpiexec here says of itself.

    Neighbours may work together: Open MPI 4.1.7's daemons do with the mpiexec of 4.1.8.
    """
    here, there = version_number(version), version_number(look.get("version", ""))
    if here and there and here != there:
        return f"the MPI in {folder} is version {there}, and the mpiexec here is {here}; if runs fail, install the same"
    return None


def notes(look: Mapping[str, str], directory: str) -> list[str]:
    """Return what may trouble some programs, and none for sure."""
    found = []
    if look.get("directory") == _NO:
        found.append(
            f"the working directory {directory} is not there; ranks start in another one, or not at all: begin in one "
            "that the hosts have, or name one in --mpi-args"
        )
    shared = _free_mb(look.get("shared-free", ""))
    if shared is not None and shared < ENOUGH_SHARED_MB and look.get("shared") == _YES:
        found.append(f"/dev/shm has {shared} MB free; ranks on one host talk through it (--shm-size)")
    for name, enough, what in (
        ("files", ENOUGH_FILES, "NOFILE"),
        ("processes", ENOUGH_PROCESSES, "NPROC"),
    ):
        value = look.get(name, "")
        if value.isdigit() and int(value) < enough:
            found.append(f"only {value} {name} may be open or run at once (--rlimit {what}=N)")
    return found


def looks_elsewhere(arguments: Sequence[str]) -> bool:
    """Tell whether arguments of mpiexec change where ranks' programs are looked for, which a look does not follow."""
    return any(re.search(r"wd(ir)?$|path|preload|PATH|^:$", word) for word in arguments)


def _free_mb(line: str) -> int | None:
    """Return the available MB that a line of `df -Pk` tells (POSIX, df)."""
    fields = line.split()
    position = next((at for at, field in enumerate(fields) if field.endswith("%")), 0)
    if position < 2 or not fields[position - 1].isdigit():
        return None
    return int(fields[position - 1]) // 1024


def version_number(text: str) -> str:
    """Return the first version number of a text, "" where there is none."""
    match = re.search(r"\d+(\.\d+)+", text)
    return match.group() if match else ""
