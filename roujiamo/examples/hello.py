"""A first MPI program: every rank says where it runs, and all of them add up their numbers.

Runs as the ranks of an MPI job, with mpi4py, and trusts nobody else. The sum is of every rank's number, so a rank that
prints it has really talked to the others; a wrong one ends the program with status 1.
"""

import os
import re
import socket
import sys

try:
    from mpi4py import MPI
except ImportError:
    sys.exit(f"hello.py: {sys.executable} has no mpi4py; try: {sys.executable} -m pip install mpi4py")


def place() -> str:
    """Say which Mesos task this rank runs in: a sandbox's path names it (Mesos documentation, "Sandbox")."""
    task = re.search(r"/executors/([^/]+)/runs/", os.environ.get("MESOS_SANDBOX", ""))
    return f"in Mesos task {task.group(1)}" if task else "outside Mesos"


def main() -> int:
    """Print one line about this rank; 0 when the sum over all ranks is right."""
    world = MPI.COMM_WORLD
    total = world.allreduce(world.rank)
    # One write for the whole line: the ranks share the launcher's stdout.
    sys.stdout.write(
        f"rank {world.rank} of {world.size} on {socket.gethostname()}, {place()}; all ranks add up to {total}\n"
    )
    sys.stdout.flush()
    return 0 if total == sum(range(world.size)) else 1


if __name__ == "__main__":
    sys.exit(main())
