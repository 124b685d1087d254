"""The options of a session and of what runs in it: their names, variables, meaning, and how each value is read.

Pure. One table, so that an option means the same on every command line, in the environment and without a wrapper. Each
row fills one field of `SessionRequest` or of `LaunchOptions`, which hold the defaults.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from roujiamo.errors import UsageError
from roujiamo.mesos.constraints import parse_constraint
from roujiamo.mesos.framework_info import parse_roles
from roujiamo.mesos.taskinfo import parse_rlimit, parse_volume
from roujiamo.session.network import parse_callback
from roujiamo.session.option_values import (
    checked_by,
    read_amount,
    read_containerizer,
    read_count,
    read_device,
    read_hosts,
    read_ports,
    read_seconds,
    read_switch,
    read_time_limit,
    read_timeline,
    read_verbosity,
)
from roujiamo.session.request import SessionRequest


class LaunchOptions(NamedTuple):
    """How a program is started in a session, and where the session's secret is read.

    `ports`: for MPI's own connections, low and high, both included.
    """

    mpiexec: str | None = None
    mpi_arguments: tuple[str, ...] = ()
    interface: str | None = None
    ports: tuple[int, int] | None = None
    secret_file: str | None = None
    timeline: str | None = None
    quiet: bool = False
    output: str | None = None


class Option(NamedTuple):
    """One option: `flags` on the command line, `variable` in the environment, `field` that it fills.

    `read(text)` returns the value or raises ValueError with a sentence. `metavar` None: a switch; `off_flags` say its
    opposite. `is_list`: may be given again; in the environment its values stand behind one another as words of a shell.
    `is_path`: a configuration may write it as `~/…`. `is_count`: a switch whose value is how often it is given.
    `aliases`: more flags, as other programs call it; the help leaves them out.
    """

    field: str
    flags: tuple[str, ...]
    variable: str
    help: str
    group: str
    metavar: str | None
    read: Callable[[str], Any] = str
    is_list: bool = False
    off_flags: tuple[str, ...] = ()
    is_path: bool = False
    is_count: bool = False
    aliases: tuple[str, ...] = ()


SIZE = "how many and how large"
PLACE = "which agents"
MESOS = "Mesos"
TASKS = "the hosts' tasks"
LAUNCHING = "launching"
OUTPUT = "what is said"
GROUPS = (SIZE, PLACE, MESOS, TASKS, LAUNCHING, OUTPUT)

OPTIONS = (
    Option(
        field="master",
        flags=("--master",),
        variable="ROUJIAMO_MASTER",
        metavar="MASTER",
        group=MESOS,
        help="the Mesos master: HOST:PORT, several with commas, zk://…/path, or local[:AGENTS]",
    ),
    Option(
        field="nodes",
        flags=("-N", "--nodes"),
        variable="ROUJIAMO_NODES",
        metavar="N",
        read=read_count,
        group=SIZE,
        help="hosts (default: as many as needed)",
    ),
    Option(
        field="processes",
        flags=("-n", "--num"),
        aliases=("-np", "--np", "--ntasks"),
        variable="ROUJIAMO_NUM",
        metavar="N",
        read=read_count,
        group=SIZE,
        help="processes (default: one a host)",
    ),
    Option(
        field="cpus_per_process",
        flags=("-c", "--cpus-per-task"),
        variable="ROUJIAMO_CPUS",
        metavar="CPUS",
        read=read_amount,
        group=SIZE,
        help="cpus of each process",
    ),
    Option(
        field="mem_per_process",
        flags=("-m", "--mem"),
        variable="ROUJIAMO_MEM",
        metavar="MB",
        read=read_amount,
        group=SIZE,
        help="memory of each process",
    ),
    Option(
        field="disk_per_process",
        flags=("--disk",),
        variable="ROUJIAMO_DISK",
        metavar="MB",
        read=read_amount,
        group=SIZE,
        help="disk of each process",
    ),
    Option(
        field="gpus_per_process",
        flags=("--gpus",),
        variable="ROUJIAMO_GPUS",
        metavar="N",
        read=read_amount,
        group=SIZE,
        help="GPUs of each process; without any, agents that have some are left alone",
    ),
    Option(
        field="cpus_per_host",
        flags=("--cpus-per-host",),
        variable="ROUJIAMO_CPUS_PER_HOST",
        metavar="CPUS",
        read=read_amount,
        group=SIZE,
        help="cpus of each host, whatever its processes (in place of -c)",
    ),
    Option(
        field="mem_per_host",
        flags=("--mem-per-host",),
        variable="ROUJIAMO_MEM_PER_HOST",
        metavar="MB",
        read=read_amount,
        group=SIZE,
        help="memory of each host, whatever its processes (in place of -m)",
    ),
    Option(
        field="disk_per_host",
        flags=("--disk-per-host",),
        variable="ROUJIAMO_DISK_PER_HOST",
        metavar="MB",
        read=read_amount,
        group=SIZE,
        help="disk of each host besides",
    ),
    Option(
        field="gpus_per_host",
        flags=("--gpus-per-host",),
        aliases=("--gpus-per-node",),
        variable="ROUJIAMO_GPUS_PER_HOST",
        metavar="N",
        read=read_amount,
        group=SIZE,
        help="GPUs of each host besides",
    ),
    Option(
        field="overhead_cpus",
        flags=("--overhead-cpus",),
        variable="ROUJIAMO_OVERHEAD_CPUS",
        metavar="CPUS",
        read=read_amount,
        group=SIZE,
        help="cpus of each host's task for MPI's daemon and ours",
    ),
    Option(
        field="overhead_mem",
        flags=("--overhead-mem",),
        variable="ROUJIAMO_OVERHEAD_MEM",
        metavar="MB",
        read=read_amount,
        group=SIZE,
        help="memory of each host's task for these and for /dev/shm",
    ),
    Option(
        field="max_slots_per_host",
        flags=("--max-slots-per-host",),
        aliases=("--ntasks-per-node",),
        variable="ROUJIAMO_MAX_SLOTS_PER_HOST",
        metavar="N",
        read=read_count,
        group=SIZE,
        help="most processes on one host (default: what fits)",
    ),
    Option(
        field="exclusive",
        flags=("--exclusive",),
        variable="ROUJIAMO_EXCLUSIVE",
        metavar=None,
        read=read_switch,
        group=SIZE,
        off_flags=("--no-exclusive",),
        help="take whole agents, and bind ranks to their cores",
    ),
    Option(
        field="timeout_seconds",
        flags=("--timeout",),
        variable="ROUJIAMO_TIMEOUT",
        metavar="SECONDS",
        read=read_seconds,
        group=SIZE,
        help="how long to wait for the hosts",
    ),
    Option(
        field="time_limit_seconds",
        flags=("-t", "--time-limit"),
        aliases=("--time",),
        variable="ROUJIAMO_TIME_LIMIT",
        metavar="TIME",
        read=read_time_limit,
        group=SIZE,
        help="how long the hosts may be had, as srun writes it: MINUTES, MM:SS, HH:MM:SS, DAYS-HH; 0: no limit",
    ),
    Option(
        field="spread",
        flags=("--spread",),
        off_flags=("--pack",),
        variable="ROUJIAMO_SPREAD",
        metavar=None,
        read=read_switch,
        group=PLACE,
        help="over many agents, the emptiest first (default: --pack, on few, the smallest that fit)",
    ),
    Option(
        field="constraints",
        flags=("--constraint",),
        variable="ROUJIAMO_CONSTRAINT",
        metavar="C",
        read=checked_by(parse_constraint),
        is_list=True,
        group=PLACE,
        help="only agents whose attributes match: zone==a, rack~r[12], hostname!=x; may be given again",
    ),
    Option(
        field="only_hosts",
        flags=("--host",),
        aliases=("-H", "--nodelist"),
        variable="ROUJIAMO_HOSTS",
        metavar="NAME[,NAME]",
        read=read_hosts,
        is_list=True,
        group=PLACE,
        help="only these agents; may be given again",
    ),
    Option(
        field="exclude_hosts",
        flags=("--exclude",),
        variable="ROUJIAMO_EXCLUDE",
        metavar="NAME[,NAME]",
        read=read_hosts,
        is_list=True,
        group=PLACE,
        help="not these agents; may be given again",
    ),
    Option(
        field="name",
        flags=("--name",),
        aliases=("-J", "--job-name"),
        variable="ROUJIAMO_NAME",
        metavar="NAME",
        group=MESOS,
        help="name of the framework (default: the program's)",
    ),
    Option(
        field="role",
        flags=("--role",),
        variable="ROUJIAMO_ROLE",
        metavar="ROLE[,ROLE]",
        read=checked_by(parse_roles),
        group=MESOS,
        help="role to register with; with several, each host is had in one of them",
    ),
    Option(
        field="user",
        flags=("--user",),
        variable="ROUJIAMO_USER",
        metavar="USER",
        group=MESOS,
        help="user that the tasks run as (default: you)",
    ),
    Option(
        field="principal",
        flags=("--principal",),
        variable="ROUJIAMO_PRINCIPAL",
        metavar="NAME",
        group=MESOS,
        help="who we are to a master that wants to know (default: who the secret file says)",
    ),
    Option(
        field="secret_file",
        flags=("--secret-file",),
        variable="ROUJIAMO_SECRET_FILE",
        metavar="FILE",
        is_path=True,
        group=MESOS,
        help="file or pipe with the principal's secret, or a Mesos credential (default: $ROUJIAMO_SECRET)",
    ),
    Option(
        field="failover_timeout_seconds",
        flags=("--failover-timeout",),
        variable="ROUJIAMO_FAILOVER_TIMEOUT",
        metavar="SECONDS",
        read=read_seconds,
        group=MESOS,
        help="how long a master keeps the tasks when it has lost us",
    ),
    Option(
        field="image",
        flags=("--image",),
        aliases=("--docker_image",),
        variable="ROUJIAMO_IMAGE",
        metavar="IMAGE",
        group=TASKS,
        help="container image for each host's task",
    ),
    Option(
        field="containerizer",
        flags=("--containerizer",),
        variable="ROUJIAMO_CONTAINERIZER",
        metavar="mesos|docker",
        read=read_containerizer,
        group=TASKS,
        help="who runs the image",
    ),
    Option(
        field="force_pull",
        flags=("--force-pull",),
        variable="ROUJIAMO_FORCE_PULL",
        metavar=None,
        read=read_switch,
        group=TASKS,
        off_flags=("--no-force-pull",),
        help="pull the image even where an agent has it",
    ),
    Option(
        field="volumes",
        flags=("--volume",),
        variable="ROUJIAMO_VOLUME",
        metavar="PATH[:PATH[:ro]]",
        read=checked_by(parse_volume),
        is_list=True,
        group=TASKS,
        help="folder or file of the agents in the container; may be given again",
    ),
    Option(
        field="devices",
        flags=("--device",),
        variable="ROUJIAMO_DEVICE",
        metavar="PATH",
        read=read_device,
        is_list=True,
        group=TASKS,
        help="device of the agents in the container, such as /dev/infiniband; may be given again",
    ),
    Option(
        field="shm_size_mb",
        flags=("--shm-size",),
        variable="ROUJIAMO_SHM_SIZE",
        metavar="MB",
        read=read_amount,
        group=TASKS,
        help="size of /dev/shm in the container (default: the containerizer's)",
    ),
    Option(
        field="rlimits",
        flags=("--rlimit",),
        variable="ROUJIAMO_RLIMIT",
        metavar="NAME=VALUE",
        read=checked_by(parse_rlimit),
        is_list=True,
        group=TASKS,
        help="limit of the task: nofile=1024:4096, core=unlimited; may be given again",
    ),
    Option(
        field="uris",
        flags=("--uri",),
        variable="ROUJIAMO_URI",
        metavar="URI",
        is_list=True,
        group=TASKS,
        help="fetched into each task's sandbox first; may be given again",
    ),
    Option(
        field="environment",
        flags=("--env",),
        variable="ROUJIAMO_ENV",
        metavar="NAME[=VALUE]",
        is_list=True,
        group=TASKS,
        help="set for the ranks (only NAME: as it is here); may be given again",
    ),
    Option(
        field="mpiexec",
        flags=("--mpiexec",),
        variable="ROUJIAMO_MPIEXEC",
        metavar="PATH",
        is_path=True,
        group=LAUNCHING,
        help="which mpiexec (default: the one on PATH)",
    ),
    Option(
        field="mpi_arguments",
        flags=("--mpi-args",),
        variable="ROUJIAMO_MPI_ARGS",
        metavar="ARGS",
        read=shlex.split,
        is_list=True,
        group=LAUNCHING,
        help="more arguments for mpiexec, in one string: --mpi-args='-x A'",
    ),
    Option(
        field="prefix",
        flags=("--prefix",),
        variable="ROUJIAMO_PREFIX",
        metavar="DIR",
        is_path=True,
        group=LAUNCHING,
        help="where the MPI is on the hosts, for PATH and LD_LIBRARY_PATH (default: where it is here)",
    ),
    Option(
        field="interface",
        flags=("--interface",),
        variable="ROUJIAMO_INTERFACE",
        metavar="NAME|CIDR",
        group=LAUNCHING,
        help="network for MPI's connections (default: the one the hosts call back on)",
    ),
    Option(
        field="ports",
        flags=("--mpi-ports",),
        variable="ROUJIAMO_MPI_PORTS",
        metavar="LOW-HIGH",
        read=read_ports,
        group=LAUNCHING,
        help="ports for MPI's connections (default: any)",
    ),
    Option(
        field="callback_address",
        flags=("--callback-address",),
        variable="ROUJIAMO_CALLBACK_ADDRESS",
        metavar="ADDRESS[:PORT]",
        read=checked_by(parse_callback),
        group=LAUNCHING,
        help="where the agents reach this machine (default: the address that faces the master, and the port here)",
    ),
    Option(
        field="callback_ports",
        flags=("--callback-port",),
        variable="ROUJIAMO_CALLBACK_PORT",
        metavar="LOW[-HIGH]",
        read=read_ports,
        group=LAUNCHING,
        help="port that tasks call back to (default: any)",
    ),
    Option(
        field="reconnect_grace_seconds",
        flags=("--reconnect-grace",),
        variable="ROUJIAMO_RECONNECT_GRACE",
        metavar="SECONDS",
        read=read_seconds,
        group=LAUNCHING,
        help="how long a host may be out of reach before it is lost",
    ),
    Option(
        field="keepalive_seconds",
        flags=("--keepalive",),
        variable="ROUJIAMO_KEEPALIVE",
        metavar="SECONDS",
        read=read_seconds,
        group=LAUNCHING,
        help="how long a host's connection may be silent before it is taken for dead; pings go at a third of it",
    ),
    Option(
        field="timeline",
        flags=("--timeline",),
        variable="ROUJIAMO_TIMELINE",
        metavar="FILE",
        read=read_timeline,
        is_path=True,
        group=OUTPUT,
        help="what happened when, on each host: a picture (.svg) or a Chrome trace for Perfetto (.json)",
    ),
    Option(
        field="output",
        flags=("--output",),
        variable="ROUJIAMO_OUTPUT",
        metavar="DIR",
        is_path=True,
        group=OUTPUT,
        help="keep a record of the run in this new folder (%j: the session's id, %x: its name): options, hosts, "
        "timeline, logs, exit status",
    ),
    Option(
        field="log_file",
        flags=("--log-file",),
        variable="ROUJIAMO_LOG_FILE",
        metavar="FILE",
        is_path=True,
        group=OUTPUT,
        help="append all that is said, and the broker's log, to this file",
    ),
    Option(
        field="log_json",
        flags=("--log-json",),
        variable="ROUJIAMO_LOG_JSON",
        metavar="FILE",
        is_path=True,
        group=OUTPUT,
        help="the same as lines of JSON",
    ),
    Option(
        field="quiet",
        flags=("-q", "--quiet"),
        variable="ROUJIAMO_QUIET",
        metavar=None,
        read=read_switch,
        group=OUTPUT,
        off_flags=("--no-quiet",),
        help="no status line, and nothing said while all is well",
    ),
    Option(
        field="verbosity",
        flags=("-v", "--verbose"),
        variable="ROUJIAMO_VERBOSE",
        metavar="0|1|2",
        read=read_verbosity,
        is_count=True,
        group=OUTPUT,
        help="say what happens; twice: the broker's log as well",
    ),
)

_SESSION_FIELDS = frozenset(SessionRequest._fields)
_LAUNCH_FIELDS = frozenset(LaunchOptions._fields)


def default_of(option: Option) -> Any:
    """Return the value that an option has when nobody says anything."""
    for holder in (SessionRequest, LaunchOptions):
        if option.field in holder._fields:
            return holder._field_defaults.get(option.field)
    raise KeyError(option.field)


def from_environment(environment: Mapping[str, str], options: Iterable[Option] = OPTIONS) -> dict[str, Any]:
    """Return the values that ROUJIAMO_* variables give, by field; an empty variable says nothing.

    Raises UsageError, naming the variable.
    """
    values = {}
    for option in options:
        text = environment.get(option.variable, "")
        if not text:
            continue
        try:
            if option.is_list:
                # One string of arguments is split once, not twice.
                texts = [text] if option.read is shlex.split else shlex.split(text)
                values[option.field] = read_list(option, texts)
            else:
                values[option.field] = option.read(text)
        except ValueError as error:
            raise UsageError(f"{option.variable}: {error}") from error
    return values


def read_list(option: Option, texts: Iterable[str]) -> tuple[Any, ...]:
    """Return the values of an option that may be given again. Raises ValueError."""
    if option.read is shlex.split:
        return tuple(word for text in texts for word in shlex.split(text))
    return tuple(option.read(text) for text in texts)


def chosen_environment(entries: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that `--env NAME[=VALUE]` chose; one without a value is taken from `environment`.

    Raises UsageError.
    """
    chosen = {}
    for entry in entries:
        name, has_value, value = entry.partition("=")
        if not name:
            raise UsageError(f"--env {entry}: write NAME or NAME=VALUE")
        if not has_value:
            if name not in environment:
                raise UsageError(f"--env {name}: there is no such variable here; write {name}=VALUE")
            value = environment[name]
        chosen[name] = value
    return chosen


def session_request(
    values: Mapping[str, Any], environment: Mapping[str, str], **fixed: Any
) -> SessionRequest:
    """Return the request that option `values` (by field) make, with `fixed` fields besides.

    Raises UsageError.
    """
    chosen = {field: value for field, value in values.items() if field in _SESSION_FIELDS}
    for_ranks: dict[str, str] = {}
    if values.get("ports"):
        from roujiamo.dialects import variables_for_ranks

        for_ranks = variables_for_ranks(values["ports"])
    chosen["environment"] = {
        **for_ranks,
        **chosen_environment(chosen.get("environment", ()), environment),
    }
    return SessionRequest(**{**chosen, **fixed})


def launch_options(values: Mapping[str, Any]) -> LaunchOptions:
    """Return the launching side of option `values` (by field)."""
    return LaunchOptions(**{field: value for field, value in values.items() if field in _LAUNCH_FIELDS})
