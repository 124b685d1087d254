"""Slots from a launcher's command line: every form that the launchers' own manuals give."""

import shlex

import pytest

from roujiamo.session.launcher_line import local_names, parse_hostfile, parse_line, slots_by_host

FILES = {
    "open.hosts": "# the cluster\na slots=4 max_slots=8\n\nuser@b slots = 2 # small\nc\n^d\n",
    "hydra.hosts": "a:4\nb:2 binding=user:1,0\nc\n",
    "twice.hosts": "a\na\nb\n",
}


def slots(text: str, default: int = 1, **environment: str) -> dict[str, int]:
    line = parse_line(shlex.split(text), environment)
    return slots_by_host(line, lambda path: FILES.get(path, ""), default)


@pytest.mark.parametrize(
    "text",
    [
        "mpiexec --mca plm_rsh_agent roujiamo-rsh -H a:2,b:2 ./a.out -H c:9",
        "mpirun --prtemca plm_ssh_agent roujiamo-rsh --host a:2,b:2 -x PATH -n 4 python -c 'x'",
        "mpirun -n 2 -host a:2 ./a.out : -n 2 -host b:2 ./b.out",
        "mpirun -H a,a,b,b ./a.out",
        "mpirun -N 2 -H a,b ./a.out",
        "mpirun --map-by ppr:2:node --host a,b ./a.out",
        "mpirun --map-by ppr:2:node:PE=2 --host a:8,b:8 ./a.out",
        "prterun --npernode 2 -host a,b ./a.out",
        "mpiexec -launcher ssh -launcher-exec roujiamo-rsh -hosts a:2,b:2 ./a.out",
        "mpiexec -launcher ssh -launcher-exec roujiamo-rsh -hosts a,b -ppn 2 ./a.out",
        "mpiexec -bootstrap rsh -bootstrap-exec roujiamo-rsh -hosts a,b -perhost 2 -genv NAME -hosts ./a.out",
        "mpiexec -hosts a,b -n 4 ./a.out",
        "mpiexec -hosts=a:2,b:2 ./a.out",
        "mpiexec --bind-to none --report-bindings --allow-run-as-root -H user@a:2,b:2 ./a.out",
    ],
)
def test_every_way_to_say_two_slots_on_a_and_on_b(text: str) -> None:
    """The tasks are as large as the processes that the launcher puts into them."""
    assert slots(text) == {"a": 2, "b": 2}


@pytest.mark.parametrize(
    "text",
    [
        "mpirun --hostfile open.hosts ./a.out",
        "mpirun -machinefile open.hosts ./a.out",
        "mpirun --mca orte_default_hostfile open.hosts ./a.out",
        "mpirun --prtemca prte_default_hostfile open.hosts ./a.out",
        "mpiexec -f hydra.hosts ./a.out",
        "mpiexec -machinefile hydra.hosts ./a.out",
    ],
)
def test_hostfiles_in_each_form(text: str) -> None:
    """A host without a number has what the user's default says."""
    assert slots(text, default=3) == {"a": 4, "b": 2, "c": 3}


@pytest.mark.parametrize(
    "variable",
    [
        "OMPI_MCA_orte_default_hostfile",
        "PRTE_MCA_prte_default_hostfile",
        "HYDRA_HOST_FILE",
        "I_MPI_HYDRA_HOST_FILE",
    ],
)
def test_a_hostfile_named_by_a_variable(variable: str) -> None:
    """Where the command line names none."""
    assert slots("mpiexec ./a.out", **{variable: "hydra.hosts"}) == {"a": 4, "b": 2, "c": 1}
    assert slots("mpiexec -f twice.hosts ./a.out", **{variable: "hydra.hosts"}) == {"a": 2, "b": 1}


def test_a_list_beside_a_hostfile_chooses_among_its_hosts() -> None:
    """As mpirun(1) has it."""
    assert slots("mpirun --hostfile open.hosts -H b,c:5 ./a.out") == {"b": 2, "c": 5}


def test_more_processes_than_slots_go_round_again() -> None:
    """Hydra gives one process to each host that is named without a number, and begins anew."""
    assert slots("mpiexec -n 5 -hosts a,b ./a.out") == {"a": 3, "b": 3}
    assert slots("mpiexec -n 2 -hosts a:4,b:4 ./a.out") == {"a": 4, "b": 4}


def test_a_program_that_nobody_can_read_says_nothing() -> None:
    """Wrong numbers, missing files, no hosts: then the default holds for whichever host is named."""
    assert slots("mpiexec ./a.out") == {}
    assert slots("mpiexec -f missing ./a.out") == {}
    assert slots("mpiexec -n many -H a:many,b:-1 ./a.out") == {"a": 1, "b": 1}
    assert slots("mpiexec -H") == {}
    assert parse_line([], {}).hosts == {}


def test_addresses_keep_their_colons() -> None:
    """An IPv6 address is in brackets where a number follows."""
    assert slots("mpirun -H 10.0.0.7:2,[fd00::7]:3,fd00::8 x") == {"10.0.0.7": 2, "fd00::7": 3, "fd00::8": 1}
    assert parse_hostfile("fd00::8 slots=2\n") == {"fd00::8": 2}


def test_names_of_the_launch_host_are_told() -> None:
    """The launcher runs the ranks of such a host by itself, outside Mesos."""
    assert local_names(["a", "Head.example.org", "head", "127.0.0.1", "localhost"], "head.example.org") == [
        "Head.example.org",
        "head",
        "127.0.0.1",
        "localhost",
    ]
