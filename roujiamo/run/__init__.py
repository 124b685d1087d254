"""`roujiamo run` and `ompirun.sh`: a session around one mpiexec; see `roujiamo.run.program`."""
