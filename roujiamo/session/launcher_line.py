"""What an MPI launcher's command line says of its hosts, and how many processes it puts on each.

Pure; used by the starter of an on-demand session, which sizes each host's task by it. It knows the options of Open
MPI's mpirun(1) (4 and 5), of MPICH's Hydra and of Intel MPI's. What it cannot read it leaves out: a host of which
nothing is known gets the default.

    -H a:2,b:2   -host a,a,b   --hostfile F   -machinefile F   -f F   -hosts a:2,b   -N 2   -ppn 2   --map-by ppr:2:node
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

# A name without its dashes, as all of these launchers take one or two.
_HOSTS = frozenset(("H", "host", "hosts"))
_FILES = frozenset(("hostfile", "machinefile", "default-hostfile", "f"))
_PROCESSES = frozenset(("n", "np", "c"))
_PER_HOST = frozenset(("N", "npernode", "ppn", "perhost", "grr"))
_MAP_BY = frozenset(("map-by",))
_MCA = frozenset(("mca", "gmca", "prtemca", "pmixmca"))
_FILE_PARAMETERS = frozenset(("orte_default_hostfile", "prte_default_hostfile"))
_PER_RESOURCE = re.compile(r"(?:^|:)ppr:(\d+):(?:node|slot)", re.IGNORECASE)

# Options that take one word, or two, and say nothing of hosts: what stands behind them is no program.
_ONE_WORD = frozenset(
    """
    x wd wdir path prefix app am tune rank-by bind-to cpus-per-proc cpus-per-rank cpu-set cpu-list report-uri stdin
    output output-filename timeout max-restarts ompi-server server-wait-time preload-files personality rf rankfile ppr
    display runtime-options pset dvm dvm-uri
    launcher launcher-exec bootstrap bootstrap-exec bootstrap-exec-args iface rmk demux membind topolib ckpointlib
    ckpoint-prefix ckpoint-interval ckpoint-num configfile envlist genvlist binding errfile-pattern outfile-pattern
    tmpdir branch-count s usize gpus-per-proc gpu-subdevs-per-proc order-nodes outfile errfile umask arch dir
    """.split()
)
_TWO_WORDS = frozenset(("env", "genv", "mca", "gmca", "prtemca", "pmixmca"))
_HOSTFILE_VARIABLES = (
    "OMPI_MCA_orte_default_hostfile",
    "PRTE_MCA_prte_default_hostfile",
    "HYDRA_HOST_FILE",
    "I_MPI_HYDRA_HOST_FILE",
)
_PER_HOST_VARIABLES = ("I_MPI_PERHOST",)

_COUNT = re.compile(r"\d{1,6}")
_SLOTS = re.compile(r"\bslots\s*=\s*(\d{1,6})")

MAX_SLOTS = 1_000_000


@dataclass
class LauncherLine:
    """What one command line says. `hosts`: name -> slots, 0 where the name stands there without a number."""

    hosts: dict[str, int] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    per_host: int = 0
    processes: int = 0


def parse_line(arguments: Sequence[str], environment: Mapping[str, str]) -> LauncherLine:
    """Read a launcher's `arguments`, its own name first, and the variables that it reads for the same."""
    line = LauncherLine()
    for options in _applications(arguments[1:]):
        for name, value in _options(options):
            _take(line, name, value)
    if not line.files:
        line.files += [environment[each] for each in _HOSTFILE_VARIABLES if environment.get(each)]
    if not line.per_host:
        line.per_host = next(
            (n for each in _PER_HOST_VARIABLES if (n := _count(environment.get(each, "")))), 0
        )
    return line


def parse_hostfile(text: str) -> dict[str, int]:
    """Return name -> slots of a hostfile in any of the forms: `a`, `a slots=2`, `a:2`, `user@a`; 0 for none given."""
    hosts: dict[str, int] = {}
    for each in text.splitlines():
        words = each.partition("#")[0].split()
        if not words or words[0].startswith(("^", "+", "-")):
            continue
        name, slots = _name_and_slots(words[0])
        if found := _SLOTS.search(each.partition("#")[0]):
            slots = int(found.group(1))
        _add(hosts, name, slots)
    return hosts


def slots_by_host(line: LauncherLine, read_file: Callable[[str], str], slots_per_host: int) -> dict[str, int]:
    """Return how many processes may run on each host that the line, or a hostfile of it, names.

    `read_file(path)` returns a hostfile's text, or "" where it cannot be read. A host without a number counts
    `slots_per_host`. Launchers go round again where there are more processes than slots.
    """
    listed: dict[str, int] = {}
    for path in line.files:
        for name, slots in parse_hostfile(read_file(path)).items():
            _add(listed, name, slots)
    if line.hosts:
        # Beside a hostfile, a list of hosts chooses among its lines (mpirun(1)).
        listed = {name: slots or listed.get(name, 0) for name, slots in line.hosts.items()}
    if line.per_host:
        return dict.fromkeys(listed, line.per_host)
    found = {name: slots or slots_per_host for name, slots in listed.items()}
    total = sum(found.values())
    rounds = -(-line.processes // total) if total else 1
    return {name: min(slots * max(1, rounds), MAX_SLOTS) for name, slots in found.items()}


def _applications(arguments: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the arguments of each application context: colons stand between them (mpirun(1), MPMD)."""
    start = 0
    for index, each in enumerate([*arguments, ":"]):
        if each == ":":
            yield arguments[start:index]
            start = index + 1


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the options before the program, each with its value; what an unknown one may take is left alone."""
    index = 0
    while index < len(arguments):
        word = arguments[index]
        index += 1
        if not word.startswith("-") or word == "-":
            return
        name, has_value, value = word.lstrip("-").partition("=")
        if has_value:
            yield name, value
        elif name in _TWO_WORDS:
            yield name, " ".join(arguments[index : index + 2])
            index += 2
        elif name in _TAKE_VALUE:
            yield name, arguments[index] if index < len(arguments) else ""
            index += 1
        else:
            yield name, ""


_TAKE_VALUE = _ONE_WORD | _HOSTS | _FILES | _PROCESSES | _PER_HOST | _MAP_BY


def _take(line: LauncherLine, name: str, value: str) -> None:
    if name in _HOSTS:
        for each in value.split(","):
            if each and not each.startswith("+"):
                _add(line.hosts, *_name_and_slots(each))
    elif name in _FILES:
        line.files.append(value)
    elif name in _PROCESSES:
        line.processes += _count(value)
    elif name in _PER_HOST:
        line.per_host = _count(value)
    elif name == "pernode":
        line.per_host = 1
    elif name in _MAP_BY and (found := _PER_RESOURCE.search(value)):
        line.per_host = _count(found.group(1))
    elif name in _MCA:
        parameter, _, path = value.partition(" ")
        if parameter in _FILE_PARAMETERS:
            line.files.append(path)


def _name_and_slots(text: str) -> tuple[str, int]:
    """Read `[user@]name[:slots]`; an IPv6 address has colons of its own, and brackets where slots follow."""
    name = text.rpartition("@")[2]
    head, _, tail = name.rpartition(":")
    if head.startswith("[") and head.endswith("]"):
        return head[1:-1], _count(tail)
    if head and ":" not in head:
        return head, _count(tail)
    return name.strip("[]"), 0


def _add(hosts: dict[str, int], name: str, slots: int) -> None:
    """Count a name that stands there again: `a,a` are two slots, as are two lines of a hostfile."""
    if name not in hosts:
        hosts[name] = slots
    else:
        hosts[name] = max(hosts[name], 1) + max(slots, 1)


def _count(text: str) -> int:
    return int(text) if _COUNT.fullmatch(text) else 0


def local_names(names: Iterable[str], hostname: str) -> list[str]:
    """Return those of `names` by which a launcher on the machine `hostname` means that machine itself.

    As far as their text tells; nothing is looked up.
    """
    own = {"localhost", "::1", hostname.lower(), hostname.lower().partition(".")[0]}
    return [name for name in names if name.lower() in own or name.startswith("127.")]
