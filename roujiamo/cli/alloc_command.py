"""`roujiamo alloc`: hosts held for as long as a command runs, in the manner of salloc(1)."""

from __future__ import annotations

import argparse
from typing import Any

from roujiamo.cli.session_options import add_command, add_dry_run, add_options, run_options, user_command

EPILOG = """\
examples:
  roujiamo alloc -N 2 -n 8 --master m1:5050
  roujiamo alloc -N 2 -n 8 --master m1:5050 -- mpiexec ./a.out
  echo 'mpiexec ./one; mpiexec ./two' | roujiamo alloc -N 2 --master local

Inside, plain `mpiexec ./a.out` of any MPI starts its ranks on the hosts, again
and again or several at once, and `roujiamo-rsh HOST COMMAND` runs a command on
one of them. Besides what the MPIs read, these are set:
  ROUJIAMO_HOSTS           the hosts, with commas
  ROUJIAMO_HOSTFILE        a file with a line `HOST slots=N` for each
  ROUJIAMO_NUM_HOSTS, ROUJIAMO_SLOTS, ROUJIAMO_SLOTS_PER_HOST
                           how many hosts, slots in all, and slots of each
  TMPDIR                   a folder that goes with the allocation
The exit status is the command's; 124 when the hosts were not there in time, 125
when the time limit was reached, 127 when there is no such command, 2 for a
wrong option. Ctrl-C is the command's own matter.
"""


def add(commands: Any) -> None:
    """Add `alloc` to the subcommands."""
    parser = commands.add_parser(
        "alloc",
        help="hold hosts while a command runs, by default a shell",
        description="Hold hosts of a Mesos cluster while a command runs, by default your shell.",
        epilog=EPILOG,
        usage="roujiamo alloc [options] --master MASTER [-- COMMAND [ARGS ...]]",
    )
    add_options(parser, without=("mpiexec", "mpi_arguments"))
    add_dry_run(parser)
    add_command(parser, "COMMAND [ARGS ...]", "what runs with the hosts (default: your shell)")
    parser.set_defaults(function=alloc)


def alloc(options: argparse.Namespace) -> int:
    """Do what the parsed command line says; return the exit status. Raises RoujiamoError."""
    from roujiamo.run.allocation import alloc as alloc_program

    wanted = run_options(options, user_command(options))
    if options.dry_run:
        from roujiamo.run.dry_run import dry_run

        return dry_run(wanted, of_run=False)
    return alloc_program(wanted)
