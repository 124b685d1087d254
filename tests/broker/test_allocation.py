"""From a session's request to what the allocator is asked for and how the tasks are contained."""

import pytest

from roujiamo.broker.wanted import Wanted, container_of, demand_of
from roujiamo.errors import UsageError
from roujiamo.mesos.demand import PACK, SPREAD
from roujiamo.mesos.resources import Resources
from roujiamo.mesos.taskinfo import Container, RLimit, Volume
from roujiamo.session.request import SessionRequest


def asked(**fields: object) -> SessionRequest:
    # Over the wire, as the broker gets it.
    return SessionRequest.from_json(SessionRequest(master="m:5050", user="alice", **fields).to_json())


def test_every_process_and_every_host_gets_its_resources() -> None:
    """Per process, and besides them per host; fractions of cpus."""
    demand = demand_of(
        asked(
            nodes=2,
            processes=6,
            cpus_per_process=0.5,
            mem_per_process=100.0,
            disk_per_process=10.0,
            gpus_per_process=1.0,
            disk_per_host=5.0,
            gpus_per_host=1.0,
            overhead_cpus=0.25,
            overhead_mem=128.0,
        )
    )
    assert demand.size_of(3) == Resources(cpus=1.75, mem=428, disk=35, gpus=4)
    assert demand.wants_gpus


def test_cpus_and_memory_of_a_host_take_the_place_of_those_of_a_process() -> None:
    """However many processes share them."""
    demand = demand_of(
        asked(nodes=1, processes=8, cpus_per_host=4.0, mem_per_host=1000.0, overhead_mem=128.0)
    )
    assert demand.size_of(8) == demand.size_of(1) == Resources(cpus=4, mem=1128)


def test_where_it_may_run_is_passed_on() -> None:
    """Names may be given one by one or as lists."""
    demand = demand_of(
        asked(
            processes=4,
            spread=True,
            max_slots_per_host=2,
            constraints=("zone==a",),
            only_hosts=("n1,n2", "n3"),
            exclude_hosts=("n4",),
        )
    )
    assert (demand.hosts, demand.placement, demand.slot_limit) == (None, SPREAD, 2)
    assert [each.text for each in demand.constraints] == ["zone==a"]
    assert (demand.only_hosts, demand.exclude_hosts) == (("n1", "n2", "n3"), ("n4",))
    assert demand_of(asked()).placement == PACK


def test_a_task_has_a_container_of_its_own_only_where_something_is_asked_of_it() -> None:
    """A ContainerInfo would need the Mesos containerizer on agents that may have Docker's alone."""
    assert container_of(asked()) is None
    assert container_of(
        asked(
            image="mpi:1",
            volumes=("/scratch", "/opt/mpi:/usr/local:ro"),
            devices=("/dev/infiniband",),
            shm_size_mb=64.0,
            rlimits=("core=0",),
        )
    ) == Container(
        image="mpi:1",
        volumes=(Volume("/scratch", "/scratch"), Volume("/opt/mpi", "/usr/local", is_read_only=True)),
        devices=("/dev/infiniband",),
        shm_size_mb=64,
        rlimits=(RLimit("CORE", 0, 0),),
    )


def test_what_the_containerizer_lacks_is_told_before_mesos_is_asked() -> None:
    """The Docker containerizer runs images only."""
    with pytest.raises(UsageError, match="give --image"):
        container_of(asked(containerizer="docker"))


@pytest.mark.parametrize("gpus", [0.0, 1.0])
def test_gpu_agents_are_offered_only_to_who_asks_for_gpus(gpus: float) -> None:
    """docs/gpu-support.md: without GPU_RESOURCES an agent with GPUs is not offered at all."""
    framework = Wanted(asked(gpus_per_process=gpus), "s").framework()
    assert ({"type": "GPU_RESOURCES"} in framework["capabilities"]) == bool(gpus)


def test_locked_memory_has_no_limit_unless_one_is_asked_for() -> None:
    """Fabrics lock what they register; `--rlimit memlock=...` is the user's word."""
    docker = container_of(asked(containerizer="docker", image="mpi:1"))
    assert docker is not None
    assert docker.rlimits == (RLimit("MEMLOCK"),)
    chosen = asked(containerizer="docker", image="mpi:1", rlimits=("memlock=1:2",))
    limited = container_of(chosen)
    assert limited is not None
    assert limited.rlimits == (RLimit("MEMLOCK", 1, 2),)
    assert Wanted(asked(), "s").unlocks_memory
    assert not Wanted(chosen, "s").unlocks_memory
