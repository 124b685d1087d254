"""Every MPI, in every way of use, over several hosts."""
