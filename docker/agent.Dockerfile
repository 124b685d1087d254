# syntax=docker/dockerfile:1.7
# A Mesos agent that runs tasks in containers of the machine's own Docker engine: Mesos, and Docker's client.
ARG MESOS_IMAGE=mesos/mesos-centos:1.11.x
FROM docker:27.3.1-cli AS client

# hadolint ignore=DL3006
FROM ${MESOS_IMAGE}
COPY --from=client /usr/local/bin/docker /usr/local/bin/docker
ENTRYPOINT ["mesos-agent"]
