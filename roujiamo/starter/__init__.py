"""Starts the session of an MPI launcher that has none, on behalf of its first shim; see `roujiamo.starter.program`."""
