"""An MPI program that exchanges sums until a file appears: `mpiexec python3 sums.py FILE`."""

import os
import sys
import time

from mpi4py import MPI

world = MPI.COMM_WORLD
rank, size = world.Get_rank(), world.Get_size()
rounds = 0
while True:
    rounds += 1
    # Each rank adds a number that the round decides, so that a lost or doubled message gives a wrong sum.
    total = world.allreduce(rank + rounds)
    if total != size * (size - 1) // 2 + size * rounds:
        sys.exit(f"rank {rank}: a wrong sum in round {rounds}: {total}")
    if rounds == 1 and rank == 0:
        print("exchanging", flush=True)
    if world.bcast(rank == 0 and os.path.exists(sys.argv[1])):
        break
    # The pace of the program, which shares its cores with what is tested.
    time.sleep(0.01)
if rank == 0:
    print(f"{size} ranks agree", flush=True)
