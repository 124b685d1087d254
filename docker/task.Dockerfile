# syntax=docker/dockerfile:1.7
# What a host's task runs in (`--image`): an MPI, and the python3 that roujiamo's proxy needs. No sshd, no roujiamo.
# Built from the top of the checkout, for the example program.
FROM debian:12.8-slim

# The Open MPI must be the one of submit.Dockerfile, at the same place.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        openmpi-bin=4.1.4-3+b1 \
        python3=3.11.2-1+b1 \
        python3-mpi4py=3.1.4-2+b2 \
    && rm -rf /var/lib/apt/lists/*

COPY roujiamo/examples/hello.py /opt/hello.py
