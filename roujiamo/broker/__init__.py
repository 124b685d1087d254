"""The broker: one per session, beside mpiexec; see `roujiamo.broker.session` for how it works."""
