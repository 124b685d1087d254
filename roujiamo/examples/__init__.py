"""MPI programs to try roujiamo with: they run as ranks, and use nothing of the package."""
