"""Failures explained: from what a host said, and how it ended, to the one line that matters and what to do about it.

Pure; used by the broker (for the shims of a launcher without a wrapper, and for hosts that are lost) and by the
programs of the user's shell. A table for MPI's daemons, one for Mesos tasks: the first row that fits is taken. What no
row fits is not explained, because a guess is worse than what the launcher has already said.

A daemon's stderr never holds the ranks' own, which launchers carry beside it: a row may trust the words that it finds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from roujiamo.session.names import listing, natural_order

# Of a line that is quoted.
MAX_LINE = 240

_NOT_FOUND, _NOT_EXECUTABLE, _KILLED, _CRASHED = (
    127,
    126,
    128 + 9,
    (128 + 4, 128 + 6, 128 + 7, 128 + 8, 128 + 11),
)


class Ending(NamedTuple):
    """How one daemon's remote command has failed.

    `host`: the agent's name. `daemon`: the program's. `status`: as a shell gives it. `stderr`: its last bytes.
    """

    host: str
    daemon: str
    status: int
    stderr: str


class Explanation(NamedTuple):
    """What one host said, what that means, and what to do. `line` "" where it said nothing."""

    host: str
    line: str
    remedy: str

    @property
    def sentence(self) -> str:
        """All of it but the host."""
        return f"{self.line}; {self.remedy}" if self.line else self.remedy


class _Row(NamedTuple):
    """`pattern` is looked for in each line; None: the status alone tells. `statuses`: () for any but 0."""

    pattern: str | None
    statuses: tuple[int, ...]
    remedy: str


def _row(pattern: str | None, remedy: str, *statuses: int) -> _Row:
    # Compiled where it is looked for: most sessions have nothing to explain.
    return _Row(pattern, statuses, remedy)


# Hydra's daemons are called by the path of its mpiexec, whatever --prefix says.
_WITH_PREFIX = ("orted", "prted")

# {daemon} is the daemon's name, {elsewhere} what helps where the hosts have the MPI at another path.
_DAEMON_ROWS = (
    # The dynamic loader, ld.so(8), before the program itself runs: 127, as a shell's "not found".
    _row(
        r"failed to map segment.*Operation not permitted",
        "programs cannot be run from where the MPI is there; it is mounted noexec: mount it with exec, {elsewhere}",
    ),
    _row(
        r"failed to map segment|Cannot allocate memory|bad_alloc|[Oo]ut of memory",
        "there is not enough memory there; give the task more (-m for each process, --overhead-mem for the daemon), or "
        "raise that host's limit (ulimit -v)",
    ),
    _row(
        r"error while loading shared libraries: .*(wrong ELF class|invalid ELF header|file too short)",
        "that library is damaged, or for another kind of processor; install the MPI that belongs there, "
        "{elsewhere}",
    ),
    _row(
        r"error while loading shared libraries: ",
        "a library that {daemon} needs is missing; install it, name its folder with --env LD_LIBRARY_PATH=DIR, "
        "{elsewhere}",
    ),
    _row(
        r"version `?(GLIBC|GLIBCXX|CXXABI)_\S+' not found",
        "the MPI was built for a newer system than that host's; install one that was built for it, or give an --image",
    ),
    _row(
        r"symbol lookup error: |undefined symbol: ",
        "libraries of two versions are mixed there; look at LD_LIBRARY_PATH (--env) and at what --prefix names",
    ),
    # A program with its own words about versions.
    _row(
        r"version mismatch|Unpack data type mismatch|[Uu]npack had inadequate space|"
        r"unpack would read past end of buffer|proxy version .* does not match",
        "the MPI there has another version than the mpiexec here; install the same one, {elsewhere}",
    ),
    _row(
        r"([Uu]nrecognized|[Uu]nknown|[Ii]nvalid) (command line )?(option|argument|parameter)",
        "{daemon} does not know what the mpiexec here tells it: it has another version; install the same one, "
        "{elsewhere}",
    ),
    _row(
        r"No space left on device|Disk quota exceeded|not enough space",
        "a disk is full there; free it, let the daemon write elsewhere (--env TMPDIR=DIR), or choose other agents "
        "(--exclude, --disk)",
    ),
    _row(
        r"Read-only file system",
        "{daemon} has to write there; let it write elsewhere (--env TMPDIR=DIR), or make it writable",
    ),
    _row(
        r"Too many open files",
        "the limit of open files is too low there; raise it on the agent, or with --rlimit NOFILE=N",
    ),
    _row(
        r"[Cc]annot fork|fork: |Resource temporarily unavailable|pthread_create",
        "a limit of that host is too low, most often that of processes; raise it on the agent, or with "
        "--rlimit NPROC=N",
    ),
    _row(
        r"unable to complete a TCP connection|unable to connect to|No route to host|Connection (refused|timed out)|"
        r"Network is unreachable|no usable (network )?interface|could not be reached",
        "{daemon} could not connect back to the mpiexec here; let it through the firewall (--mpi-ports LOW-HIGH), or "
        "choose the network that both have (--interface NAME|CIDR)",
    ),
    # What a shell says of a program that it cannot start (POSIX, 2.8.2).
    _row(
        r"Exec format error|cannot execute binary file",
        "{daemon} is damaged, or for another kind of processor; install the MPI that belongs there",
        _NOT_EXECUTABLE,
    ),
    _row(
        r"Permission denied|Operation not permitted|[Ii]s a directory",
        "{daemon} cannot be executed there; look at its mode, at its folders', and whether the file system is mounted "
        "noexec",
        _NOT_EXECUTABLE,
    ),
    _row(
        r"not found|No such file or directory",
        "{daemon} is not at this path there; install the MPI as it is here, {elsewhere}",
        _NOT_FOUND,
    ),
    # A folder for its files, which Open MPI's daemons make first (orte_session_dir, prte_session_dir).
    _row(
        r"mkdir .*|unable to create the desired directory|session directory",
        "{daemon} cannot write where it keeps its files there; name another folder with --env TMPDIR=DIR",
    ),
    _row(
        None,
        "something killed {daemon} there (SIGKILL); the kernel does that where memory is used up: give the task more "
        "(-m, --overhead-mem), or look at the kernel's log of that host",
        _KILLED,
    ),
    _row(
        None,
        "{daemon} crashed there; see that the MPI there is the same as here and whole (`roujiamo doctor --trial`)",
        *_CRASHED,
    ),
)

# By Mesos's message, or the reason in its words (TaskStatus.Reason, mesos.proto).
_TASK_ROWS = (
    _row(
        r"Memory limit exceeded|container limitation memory|\boom\b",
        "it needed more memory than it had; give it more: -m MB for each process, --overhead-mem MB for the rest",
    ),
    _row(
        r"Disk usage .*exceeds|container limitation disk",
        "it wrote more than its share of the disk; ask for more with --disk MB, or write elsewhere",
    ),
    _row(
        r"status 127",
        "the agent needs a python3 of version 3.6 or later on its PATH (or give an image that has one)",
    ),
    _row(r"Volumes in ContainerInfo", "--volume and --device need agents with the isolator filesystem/linux"),
    _row(
        r"Unsupported container image type",
        "--image needs agents with --image_providers=docker, or --containerizer docker",
    ),
    _row(r"No such user", "the agent must know the user that submits"),
    _row(
        r"No space left on device", "the agent's disk is full; free it, or leave the agent out with --exclude"
    ),
    _row(
        r"manifest|pull access denied|[Rr]epository .*not (found|exist)|Unexpected HTTP response|[Ii]mage .*not found|"
        r"Failed to (pull|provision|perform 'curl')|docker pull|Unable to find image",
        "look at the image's name and tag (--image), and whether that agent can reach and may use its registry",
    ),
    _row(r"Failed to fetch", "look at what --uri names: the agent must be able to read it"),
    _row(
        # The proxy's init gives its worker's end on.
        r"terminated with signal Killed|exited with status 137",
        "something killed it: the kernel where memory is used up (-m, --overhead-mem), or somebody on that agent",
    ),
)


def explain_daemon(ending: Ending) -> Explanation | None:
    """Return what explains the end of a daemon, None where nothing that it said or did is known."""
    lines = [line.strip() for line in ending.stderr.splitlines() if line.strip()]
    for row in _DAEMON_ROWS:
        if not ending.status or (row.statuses and ending.status not in row.statuses):
            continue
        remedy = row.remedy.format(daemon=ending.daemon, elsewhere=elsewhere(ending.daemon))
        if row.pattern is None:
            return Explanation(ending.host, "", remedy)
        for line in lines:
            if re.search(row.pattern, line):
                return Explanation(ending.host, _shown(line), remedy)
    return None


def is_found_by_prefix(daemon: str) -> bool:
    """Tell whether --prefix says where a launcher looks for that daemon."""
    return daemon in _WITH_PREFIX


def elsewhere(daemon: str) -> str:
    """Return what helps where the hosts have that daemon at another path, after `install it, `."""
    by_prefix = "say where it is with --prefix DIR, " if is_found_by_prefix(daemon) else ""
    return f"{by_prefix}or give an --image that has it"


def remedy_of_task(told: str) -> str:
    """Return what to do about a task that Mesos has ended, given what it told; "" where that is not known."""
    for row in _TASK_ROWS:
        if row.pattern is not None and re.search(row.pattern, told):
            return row.remedy
    return ""


def sentences(explanations: Iterable[Explanation]) -> list[str]:
    """Return for each thing to do what the first of its hosts said, and the remedy with the hosts that it is for."""
    by_remedy: dict[str, list[Explanation]] = {}
    for explanation in explanations:
        by_remedy.setdefault(explanation.remedy, []).append(explanation)
    told = []
    for remedy, several in by_remedy.items():
        hosts = listing(sorted({each.host for each in several}, key=natural_order))
        line = next((each for each in several if each.line), None)
        if line is not None:
            told.append(f"{line.host} said: {line.line}")
        told.append(f"{hosts}: {remedy}")
    return told


def _shown(line: str) -> str:
    """Return a line that a host said, as it can stand in a sentence of ours."""
    line = "".join(character if character.isprintable() else " " for character in line).rstrip(".;:, ")
    return line if len(line) <= MAX_LINE else line[: MAX_LINE - 3] + "..."
