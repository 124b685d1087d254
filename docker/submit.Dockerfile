# syntax=docker/dockerfile:1.7
# Where jobs are submitted from: mpiexec, and roujiamo with the pymesos it drives Mesos with.
# Built from the top of the checkout.
FROM debian:12.8-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        openmpi-bin=4.1.4-3+b1 \
        python3=3.11.2-1+b1 \
        python3-pip=23.0.1+dfsg-1 \
        python3-venv=3.11.2-1+b1 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/roujiamo-source
COPY pyproject.toml README.md LICENSE ./
COPY bin ./bin
COPY roujiamo ./roujiamo
# pymesos by itself: what it depends on does not compile on Python 3.11 (see pyproject.toml).
RUN python3 -m venv /opt/roujiamo \
    && /opt/roujiamo/bin/pip install --no-cache-dir --no-deps pymesos==0.3.15 \
    && /opt/roujiamo/bin/pip install --no-cache-dir .

ENV PATH=/opt/roujiamo/bin:$PATH
# The user of the tasks is who submits; the demonstration cluster knows root alone.
ENV OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
WORKDIR /work
ENTRYPOINT ["ompirun.sh"]
CMD ["--help"]
