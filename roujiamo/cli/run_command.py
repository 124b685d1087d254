"""`roujiamo run` and `ompirun.sh`: the same options, the master named by an option or first.

The option names are those of srun(1) and mpirun(1) where these have one.
"""

from __future__ import annotations

import argparse
import math
import os
import shlex
from typing import Any

import roujiamo
from roujiamo.errors import UsageError
from roujiamo.run.options import RunOptions

EPILOG = """\
examples:
  {prefix} -N 2 -n 4 {master}./a.out
  {prefix} -n 8 -m 512 --timeout 60 {master}python3 train.py --epochs 3
  {prefix} -N 2 -n 4 {local}./a.out        no Mesos needed: a small cluster of its own

MASTER is host:port, several of them with commas, zk://host:port/path, or
local[:AGENTS]. The exit status is mpiexec's; 124 when the hosts were not there
in time, 127 when there is no mpiexec, 2 for a wrong option.
"""


def add(commands: Any) -> None:
    """Add `run` to the subcommands."""
    parser = commands.add_parser(
        "run",
        help="run an MPI program on Mesos",
        description="Run an MPI program on Mesos: allocate hosts, run mpiexec over them, clean up.",
        epilog=EPILOG.format(prefix="roujiamo run", master="--master m1:5050 ", local="--master local "),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="roujiamo run [options] --master MASTER PROGRAM [ARGS ...]",
    )
    parser.add_argument(
        "--master",
        default=os.environ.get("ROUJIAMO_MASTER"),
        help="the Mesos master (default: $ROUJIAMO_MASTER)",
    )
    add_options(parser)
    _add_command(parser)
    parser.set_defaults(function=run)


def ompirun_parser() -> argparse.ArgumentParser:
    """Return the parser of `ompirun.sh`."""
    parser = argparse.ArgumentParser(
        prog="ompirun.sh",
        description="Run an MPI program on Mesos: allocate hosts, run mpiexec over them, clean up.",
        epilog=EPILOG.format(prefix="ompirun.sh", master="m1:5050 ", local="local "),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="ompirun.sh [options] MASTER PROGRAM [ARGS ...]",
    )
    parser.add_argument("-V", "--version", action="version", version=f"ompirun.sh {roujiamo.__version__}")
    add_options(parser)
    parser.add_argument("master", metavar="MASTER", help="the Mesos master")
    _add_command(parser)
    parser.set_defaults(function=run)
    return parser


def _add_command(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "command", metavar="PROGRAM [ARGS ...]", nargs=argparse.REMAINDER, help="what each rank runs"
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a session around a program."""
    size = parser.add_argument_group("how many and how large")
    size.add_argument("-N", "--nodes", type=_count, metavar="N", help="hosts (default: as many as needed)")
    size.add_argument("-n", "--num", type=_count, metavar="N", help="processes (default: one a host)")
    size.add_argument(
        "-c",
        "--cpus-per-task",
        type=_amount,
        default=1.0,
        metavar="CPUS",
        help="cpus of each process (default: %(default)g)",
    )
    size.add_argument(
        "-m",
        "--mem",
        type=_amount,
        default=256.0,
        metavar="MB",
        help="memory of each process (default: %(default)g)",
    )
    size.add_argument(
        "--overhead-cpus",
        type=_amount,
        default=0.0,
        metavar="CPUS",
        help="cpus of each host's task for MPI's daemon and ours (default: %(default)g)",
    )
    size.add_argument(
        "--overhead-mem",
        type=_amount,
        default=128.0,
        metavar="MB",
        help="memory of each host's task for these and for /dev/shm (default: %(default)g)",
    )
    size.add_argument(
        "--exclusive", action="store_true", help="take whole agents, and bind ranks to their cores"
    )
    size.add_argument(
        "--timeout",
        type=_seconds,
        default=300.0,
        metavar="SECONDS",
        help="how long to wait for the hosts (default: %(default)g)",
    )
    mesos = parser.add_argument_group("Mesos")
    mesos.add_argument("--name", help="name of the framework (default: the program's)")
    mesos.add_argument("--role", default="*", help="role to register with (default: %(default)s)")
    mesos.add_argument(
        "--image", "--docker_image", metavar="IMAGE", help="container image for each host's task"
    )
    mesos.add_argument(
        "--uri",
        action="append",
        default=[],
        metavar="URI",
        help="fetched into each task's sandbox first; may be given again",
    )
    mesos.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="set for the ranks (only NAME: as it is here); may be given again",
    )
    launch = parser.add_argument_group("launching")
    launch.add_argument(
        "--mpiexec", metavar="PATH", help="which mpiexec (default: $ROUJIAMO_MPIEXEC, else the one on PATH)"
    )
    launch.add_argument(
        "--mpi-args",
        action="append",
        default=[],
        metavar="ARGS",
        help="more arguments for mpiexec, in one string",
    )
    launch.add_argument(
        "--callback-address",
        metavar="ADDRESS",
        help="address of this machine that the agents reach (default: the one that faces the master)",
    )
    launch.add_argument(
        "--callback-port",
        type=_ports,
        metavar="LOW[-HIGH]",
        help="port that tasks call back to (default: any)",
    )
    launch.add_argument(
        "--reconnect-grace",
        type=_seconds,
        default=5.0,
        metavar="SECONDS",
        help="how long a host may be out of reach before it is lost (default: %(default)g)",
    )
    launch.add_argument(
        "-v", "--verbose", action="count", default=0, help="say what happens; twice: the broker's log as well"
    )
    launch.add_argument("-q", "--quiet", action="store_true", help="no status line")


def run(options: argparse.Namespace) -> int:
    """Do what the parsed command line says; return the exit status. Raises RoujiamoError."""
    from roujiamo.run.program import run as run_program

    return run_program(_options(options))


def _options(options: argparse.Namespace) -> RunOptions:
    """Raises UsageError."""
    command = list(options.command)
    if command and command[0] == "--":
        del command[0]
    if not options.master:
        raise UsageError(
            "no master; give --master HOST:PORT (or set ROUJIAMO_MASTER), or --master local to try it"
        )
    if not command:
        raise UsageError("no program to run; write it behind the options, for example: … ./a.out")
    if command[0].startswith("-"):
        raise UsageError(f"{command[0]} where the program should be; options go before the program")
    try:
        mpi_arguments = [word for text in options.mpi_args for word in shlex.split(text)]
    except ValueError as error:
        raise UsageError(f"--mpi-args: {error}") from error
    return RunOptions(
        master=options.master,
        command=tuple(command),
        name=options.name,
        nodes=options.nodes,
        processes=options.num,
        cpus_per_process=options.cpus_per_task,
        mem_per_process=options.mem,
        overhead_cpus=options.overhead_cpus,
        overhead_mem=options.overhead_mem,
        exclusive=options.exclusive,
        role=options.role,
        image=options.image,
        uris=tuple(options.uri),
        environment=tuple(options.env),
        timeout_seconds=options.timeout,
        reconnect_grace_seconds=options.reconnect_grace,
        callback_address=options.callback_address,
        callback_ports=options.callback_port,
        mpiexec=options.mpiexec,
        mpi_arguments=tuple(mpi_arguments),
        verbosity=options.verbose,
        quiet=options.quiet,
    )


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000000")
    return int(text)


def _amount(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not 0 <= amount < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount of 0 or more")
    return amount


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= 1e8:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _ports(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    if not (low.isdigit() and (high or low).isdigit()) or not 1 <= int(low) <= int(high or low) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, or two from 1 to 65535 as LOW-HIGH")
    return int(low), int(high or low)
