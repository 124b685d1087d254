"""TaskInfo and LAUNCH: the JSON that Mesos documents, and what would fail there without a reason, refused here."""

import pytest

from roujiamo.errors import UsageError
from roujiamo.mesos.resources import Resources, take
from roujiamo.mesos.taskinfo import (
    Container,
    RLimit,
    Volume,
    container_info,
    launch_operation,
    parse_rlimit,
    parse_volume,
    task_info,
)

CPUS = {"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}}
MEM = {"name": "mem", "type": "SCALAR", "scalar": {"value": 64}}
AGENT = "76ba85dd-84c8-40af-b7a7-f305e8a54c11-S2"


def task(**changes):
    return task_info(
        **{
            "task_id": "t1",
            "name": "t1",
            "agent_id": AGENT,
            "resources": [CPUS, MEM],
            "command": "true",
            **changes,
        }
    )


# The operations of ACCEPT calls that a real Mesos 1.11.0 ran (recorded traffic; the last one is from trace 08, its
# kill policy included), and what we build for the same.
RECORDED = [
    (
        [
            {
                "name": "e2",
                "task_id": {"value": "e2"},
                "agent_id": {"value": AGENT},
                "command": {"shell": True, "value": "printf abc; exit 7"},
                "resources": [CPUS, MEM],
                "labels": {"labels": [{"key": "k", "value": "v"}]},
            }
        ],
        [{"task_id": "e2", "name": "e2", "command": "printf abc; exit 7", "labels": {"k": "v"}}],
    ),
    (
        [
            {
                "name": "env1",
                "task_id": {"value": "env1"},
                "agent_id": {"value": AGENT},
                "command": {
                    "shell": True,
                    "value": "env | sort",
                    "environment": {"variables": [{"name": "FOO", "value": "bär"}]},
                },
                "resources": [CPUS, MEM],
            },
            {
                "name": "k5",
                "task_id": {"value": "k5"},
                "agent_id": {"value": AGENT},
                "command": {"shell": True, "value": "trap '' TERM; while :; do sleep 1; done"},
                "resources": [CPUS, MEM],
                "kill_policy": {"grace_period": {"nanoseconds": 1000000000}},
            },
        ],
        [
            {"task_id": "env1", "name": "env1", "command": "env | sort", "environment": {"FOO": "bär"}},
            {
                "task_id": "k5",
                "name": "k5",
                "command": "trap '' TERM; while :; do sleep 1; done",
                "kill_grace_seconds": 1,
            },
        ],
    ),
]


@pytest.mark.parametrize(("recorded", "ours"), RECORDED)
def test_a_launch_is_what_a_real_mesos_accepted(recorded, ours):
    """Field by field: a name that is wrong is dropped silently by the master's JSON reader."""
    built = launch_operation(task(**each) for each in ours)
    assert built == {"type": "LAUNCH", "launch": {"task_infos": recorded}}


def test_a_list_is_run_without_a_shell():
    """CommandInfo: `value` is the program, `arguments` its argv, the program's name first."""
    assert task(command=["/bin/echo", "a b"])["command"] == {
        "shell": False,
        "value": "/bin/echo",
        "arguments": ["/bin/echo", "a b"],
    }


def test_resources_keep_their_reservation():
    """A real master refuses a task whose resources are not literally among the offered ones."""
    offered = [
        {
            **CPUS,
            "scalar": {"value": 4.0},
            "reservations": [{"role": "hpc"}],
            "allocation_info": {"role": "hpc"},
        }
    ]
    built = task(resources=take(offered, Resources(cpus=0.5), "hpc"))
    assert built["resources"] == [
        {
            "name": "cpus",
            "type": "SCALAR",
            "scalar": {"value": 0.5},
            "reservations": [{"role": "hpc"}],
            "allocation_info": {"role": "hpc"},
        }
    ]


def test_user_and_uris_stand_in_the_command():
    """An archive is unpacked by the fetcher, anything else is a program."""
    command = task(user="alice", uris=["http://h/a.out", "http://h/set.tar.gz?sig=1"])["command"]
    assert command["user"] == "alice"
    assert command["uris"] == [
        {"value": "http://h/a.out", "executable": True, "extract": False},
        {"value": "http://h/set.tar.gz?sig=1", "executable": False, "extract": True},
    ]


def test_an_image_with_the_mesos_containerizer():
    """docs/container-image.md: the image's type is DOCKER, the container's MESOS; no network_infos is the host's."""
    container = Container(
        image="registry.example.org/mpi:1",
        volumes=[Volume("/scratch", "/scratch"), Volume("/opt/mpi", "/usr/local", is_read_only=True)],
        devices=["/dev/infiniband"],
        shm_size_mb=512,
        rlimits=[RLimit("MEMLOCK"), RLimit("NOFILE", 1024, 4096)],
    )
    assert task(container=container)["container"] == {
        "type": "MESOS",
        "mesos": {
            "image": {"type": "DOCKER", "docker": {"name": "registry.example.org/mpi:1"}, "cached": True}
        },
        "volumes": [
            {"mode": "RW", "container_path": "/scratch", "host_path": "/scratch"},
            {"mode": "RO", "container_path": "/usr/local", "host_path": "/opt/mpi"},
            {"mode": "RW", "container_path": "/dev/infiniband", "host_path": "/dev/infiniband"},
        ],
        "linux_info": {"ipc_mode": "PRIVATE", "shm_size": 512},
        "rlimit_info": {
            "rlimits": [{"type": "RLMT_MEMLOCK"}, {"type": "RLMT_NOFILE", "soft": 1024, "hard": 4096}]
        },
    }


def test_an_image_with_the_docker_containerizer():
    """docs/docker-containerizer.md: what has no field of its own is a parameter of `docker run`."""
    container = Container(
        "docker", "mpi:1", [Volume("/data", "/data")], ["/dev/fuse"], 64, [RLimit("MEMLOCK")], force_pull=True
    )
    assert container_info(container) == {
        "type": "DOCKER",
        "docker": {
            "image": "mpi:1",
            "network": "HOST",
            "force_pull_image": True,
            "parameters": [
                {"key": "device", "value": "/dev/fuse"},
                {"key": "shm-size", "value": "64m"},
                {"key": "ulimit", "value": "memlock=-1:-1"},
            ],
        },
        "volumes": [{"mode": "RW", "container_path": "/data", "host_path": "/data"}],
    }


def test_limits_without_an_image_need_no_image():
    """mesos.proto, ContainerInfo: the type is MESOS then, without a MesosInfo."""
    assert container_info(Container(rlimits=[RLimit("CORE", 0, 0)])) == {
        "type": "MESOS",
        "rlimit_info": {"rlimits": [{"type": "RLMT_CORE", "soft": 0, "hard": 0}]},
    }


@pytest.mark.parametrize(
    ("container", "sentence"),
    [(Container("docker"), "needs an image"), (Container("podman"), "no containerizer 'podman'")],
)
def test_a_container_that_cannot_be_is_a_mistake(container, sentence):
    """Found before anything is asked of Mesos."""
    with pytest.raises(UsageError, match=sentence):
        container_info(container)


@pytest.mark.parametrize("task_id", ["", ".", "..", "a/b", "a\\b", "a\nb", "x" * 256, "ü" * 128])
def test_a_task_id_that_mesos_refuses_is_refused_here(task_id):
    """At most 255 bytes: the id is a folder's name on the agent."""
    with pytest.raises(UsageError, match="is not a task id"):
        task(task_id=task_id)
    assert task(task_id="x" * 255)["task_id"] == {"value": "x" * 255}


def test_an_environment_that_no_agent_can_start_names_its_largest_variable():
    """Measured: one variable of 64,700 bytes runs, a larger one ends with status 7 and no reason."""
    task(environment={"A": "x" * 64_000})
    with pytest.raises(UsageError, match="largest variable is BIG"):
        task(environment={"A": "x" * 100, "BIG": "x" * 65_000})


def test_quotes_count_twice():
    """The environment travels as JSON inside an argument."""
    task(environment={"A": '"' * 32_000})
    with pytest.raises(UsageError, match="more than the"):
        task(environment={"A": '"' * 33_000})


def test_many_small_variables_count_with_their_names():
    """About 59,900 bytes of values was the most that ran."""
    with pytest.raises(UsageError, match="more than the"):
        task(environment={f"VARIABLE_{n}": "x" * 10 for n in range(2000)})


@pytest.mark.parametrize("command", ["x" * 130_000, ["/bin/echo", "x" * 70_000, "x" * 70_000]])
def test_a_command_longer_than_an_argument_may_be_is_refused(command):
    """The executor's whole task is one argument (MAX_ARG_STRLEN)."""
    task(command="x" * 128_000)
    with pytest.raises(UsageError, match="the task's command"):
        task(command=command)


@pytest.mark.parametrize("environment", [{"A=B": "c"}, {"": "c"}, {"A": "b\0"}, {"A": "b\udc80"}])
def test_a_variable_that_cannot_travel_is_named(environment):
    """A value that was not UTF-8 in our own environment has no form in JSON."""
    with pytest.raises(UsageError, match=repr(next(iter(environment)))):
        task(environment=environment)


def test_a_volume_is_written_as_for_docker():
    """HOST[:CONTAINER[:ro|rw]]."""
    assert parse_volume("/a") == Volume("/a", "/a")
    assert parse_volume("/a:/b") == Volume("/a", "/b")
    assert parse_volume("/a:/b:ro") == Volume("/a", "/b", is_read_only=True)


@pytest.mark.parametrize("text", ["", "a", "/a:b", "/a:/b:rx", "/a:/b:ro:x", "/a/../b", "/a:/.."])
def test_a_bad_volume_is_named(text):
    """Relative paths would mean the sandbox, which is not what anybody wants to mount."""
    with pytest.raises(UsageError, match="the volume"):
        parse_volume(text)


def test_limits_are_read():
    """One number sets both limits, as `ulimit` does."""
    assert parse_rlimit("memlock=unlimited") == RLimit("MEMLOCK")
    assert parse_rlimit("nofile=4096") == RLimit("NOFILE", 4096, 4096)
    assert parse_rlimit("stack=1:2") == RLimit("STACK", 1, 2)


@pytest.mark.parametrize(
    "text", ["", "memlock", "nosuch=1", "nofile=2:1", "nofile=1:2:3", "nofile=1:unlimited"]
)
def test_a_bad_limit_is_named(text):
    """Mesos knows either both limits or none, so half an `unlimited` cannot be said."""
    with pytest.raises(UsageError, match="the limit"):
        parse_rlimit(text)
