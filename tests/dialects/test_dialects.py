"""Each MPI is recognised by what its mpiexec says of itself, and told what it needs."""

import subprocess

import pytest

from roujiamo import dialects
from roujiamo.dialects import LaunchHost
from tests.support import open_mpis

HOSTS = [LaunchHost("agent1", 3), LaunchHost("198.51.100.2", 2)]

VERSIONS = {
    "Open MPI 4": "mpiexec (OpenRTE) 4.1.8\n\nReport bugs to http://www.open-mpi.org/community/help/\n",
    "Open MPI 5": "mpiexec (Open MPI) 5.0.11\n\nReport bugs to https://www.open-mpi.org/community/help/\n",
    "MPICH": "HYDRA build details:\n    Version:                                 5.0.2\n",
    "Intel MPI": "Intel(R) MPI Library for Linux* OS, Version 2021.18 Build 20260325 (id: 11bf9a9)\n",
}


@pytest.mark.parametrize("name", VERSIONS)
def test_an_mpi_is_known_by_its_version_text(name: str) -> None:
    """A program called mpiexec may be anybody's."""
    found = dialects.find(VERSIONS[name])
    assert found is not None
    assert found.name == name


def test_an_unknown_program_is_no_dialect() -> None:
    """Guessing would end in a hang."""
    assert dialects.find("slurm 23.11.4") is None


def test_the_installed_open_mpis_are_what_their_version_text_says() -> None:
    """The patterns are held against real mpiexecs."""
    installed = open_mpis()
    if not installed:
        pytest.skip("no Open MPI here: bin/test brings two")
    for mpi in installed:
        answer = subprocess.run(
            [mpi.mpiexec, "--version"], capture_output=True, text=True, check=True, timeout=30
        )
        found = dialects.find(answer.stdout)
        assert found is not None
        assert found.name == f"Open MPI {mpi.major}"


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("Open MPI 4", ["agent1 slots=3", "198.51.100.2 slots=2"]),
        ("Open MPI 5", ["agent1 slots=3", "198.51.100.2 slots=2"]),
        ("MPICH", ["agent1:3", "198.51.100.2:2"]),
        ("Intel MPI", ["agent1:3", "198.51.100.2:2"]),
    ],
)
def test_uneven_slots_stand_in_the_hostfile(name: str, lines: list[str]) -> None:
    """Every launcher has its own form for them."""
    dialect = next(known for known in dialects.KNOWN if known.name == name)
    assert [dialect.hostfile_line(host) for host in HOSTS] == lines
    environment = dialect.environment("/run/hosts", HOSTS, bind=False)
    assert "/run/hosts" in environment.values()
    assert dialects.AGENT in environment.values()


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("Open MPI 4", ' orted -mca ess "env" -mca orte_node_regex "vm"'),
        ("Open MPI 5", "PRTE_PREFIX=/opt;export PRTE_PREFIX;/opt/bin/prted --prtemca ess env"),
        ("MPICH", '"/opt/bin/hydra_pmi_proxy" --control-port vm:1'),
    ],
)
def test_a_daemons_start_is_told_from_other_commands(name: str, command: str) -> None:
    """Only a daemon's failure says something about the job; a rank may run what it likes on another host."""
    dialect = next(known for known in dialects.KNOWN if known.name == name)
    assert dialect.is_daemon(command)
    assert not dialect.is_daemon("test -e /opt/reported")


def test_open_mpi_may_have_all_its_daemons_attached_at_once() -> None:
    """More direct children than the limit would wait for each other for ever."""
    many = [LaunchHost(f"agent{n}", 1) for n in range(500)]
    for name, variable in [
        ("Open MPI 4", "OMPI_MCA_plm_rsh_num_concurrent"),
        ("Open MPI 5", "PRTE_MCA_plm_ssh_num_concurrent"),
    ]:
        dialect = next(known for known in dialects.KNOWN if known.name == name)
        assert int(dialect.environment("/h", many, bind=False)[variable]) > 500
