"""`roujiamo run` and `ompirun.sh`: the same options, the master named by an option or first.

The option names are those of srun(1) and mpirun(1) where these have one.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from roujiamo.cli.parser import Parser
from roujiamo.cli.session_options import add_command, add_dry_run, add_options, run_options, user_command
from roujiamo.errors import UsageError
from roujiamo.system.sessions import allocation_here

EPILOG = """\
examples:
  {prefix} -N 2 -n 4 {master}./a.out
  {prefix} -n 8 -m 512 --timeout 60 {master}python3 train.py
  {prefix} -N 2 -n 4 {local}./a.out       no Mesos needed

MASTER is host:port, several of them with commas, zk://host:port/path, or
local[:AGENTS], a small cluster that lives as long as the run. Inside an
allocation `roujiamo run` without --master runs on its hosts (as many as -N and
-n say), as srun does in salloc.

An option goes before its variable ($NAME), that before your roujiamo.toml
(~/.config/roujiamo/), that before the system's (/etc/roujiamo/), and the
default comes last. Keys there are the long names: `mem = 512`.

The exit status is mpiexec's; 124 when the hosts were not there in time, 125
when the time limit was reached, 127 when there is no mpiexec, 2 for a wrong
option.
"""


def add(commands: Any) -> None:
    """Add `run` to the subcommands."""
    parser = commands.add_parser(
        "run",
        help="run an MPI program on Mesos",
        description="Run an MPI program on Mesos: allocate hosts, run mpiexec over them, clean up.",
        epilog=EPILOG.format(prefix="roujiamo run", master="--master m1:5050 ", local="--master local "),
        usage="roujiamo run [options] --master MASTER PROGRAM [ARGS ...]",
    )
    add_options(parser)
    _add_program(parser)
    parser.set_defaults(function=run)


def ompirun_parser() -> argparse.ArgumentParser:
    """Return the parser of `ompirun.sh`."""
    parser = Parser(
        prog="ompirun.sh",
        description="Run an MPI program on Mesos: allocate hosts, run mpiexec over them, clean up.",
        epilog=EPILOG.format(prefix="ompirun.sh", master="m1:5050 ", local="local "),
        usage="ompirun.sh [options] MASTER PROGRAM [ARGS ...]",
    )
    add_options(parser, without=("master",))
    parser.add_argument("master", metavar="MASTER", help="the Mesos master")
    _add_program(parser)
    parser.set_defaults(function=run)
    return parser


def _add_program(parser: argparse.ArgumentParser) -> None:
    add_dry_run(parser)
    add_command(parser, "PROGRAM [ARGS ...]", "what each rank runs")


def run(options: argparse.Namespace) -> int:
    """Do what the parsed command line says; return the exit status. Raises RoujiamoError."""
    command = user_command(options)
    folder = None if "master" in vars(options) else allocation_here(os.environ)
    if folder is not None and options.dry_run:
        raise UsageError(
            "--dry-run: this is in an allocation, whose hosts are held already; leave it out, or give --master for "
            "what a session of its own would be"
        )
    wanted = run_options(options, command, is_joining=folder is not None)
    if not command:
        raise UsageError("no program to run; write it behind the options, for example: … ./a.out")
    if options.dry_run:
        from roujiamo.run.dry_run import dry_run

        return dry_run(wanted, of_run=True)
    if folder is not None:
        from roujiamo.run.joined import run_in_allocation

        return run_in_allocation(wanted, folder)
    from roujiamo.run.program import run as run_program

    return run_program(wanted, options.client)
