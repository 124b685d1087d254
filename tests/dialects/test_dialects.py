"""Each MPI is recognised by what its mpiexec says of itself, and told what it needs."""

import subprocess

import pytest

from roujiamo import dialects
from roujiamo.dialects import Dialect, LaunchHost, LaunchPlan
from tests.support import open_mpis

HOSTS = [LaunchHost("agent1", 3), LaunchHost("198.51.100.2", 2, "agent2.example")]
PLAN = LaunchPlan(hosts=HOSTS, folder="/run/s")

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


def dialect_of(name: str) -> Dialect:
    return next(known for known in dialects.KNOWN if known.name == name)


@pytest.mark.parametrize("name", VERSIONS)
def test_uneven_slots_stand_in_the_hostfile_that_a_dialect_names(name: str) -> None:
    """Each launcher reads its own form; all know the agent and the file."""
    environment = dialect_of(name).environment(PLAN)
    assert dialects.AGENT in environment.values()
    named = [value.rpartition("/")[2] for value in environment.values() if value.startswith("/run/s/")]
    texts = dialects.hostfiles(HOSTS)
    (file,) = [each for each in named if each in texts]
    assert texts[file].split("\n")[:2] in (
        ["agent1 slots=3", "198.51.100.2 slots=2"],
        ["agent1:3", "198.51.100.2:2"],
        ["agent1", "agent1"],
    )


def test_people_are_shown_the_agents_names() -> None:
    """An alias is for launchers; it is shown only where the name would be taken for the launch host."""
    assert dialects.hostfiles(HOSTS)[dialects.SHOWN_HOSTFILE] == "agent1 slots=3\nagent2.example slots=2\n"


def test_no_two_dialects_set_the_same_variable_to_different_values() -> None:
    """In an allocation any mpiexec may be called, so all variables are there."""
    for one in dialects.KNOWN:
        for other in dialects.KNOWN:
            mine, theirs = one.environment(PLAN), other.environment(PLAN)
            assert all(mine[name] == theirs[name] for name in mine.keys() & theirs.keys())


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("Open MPI 4", ["--mca", "plm_rsh_agent", "ssh"], "plm_rsh_agent is ssh"),
        ("Open MPI 5", ["--mca", "plm_rsh_agent", "ssh"], "plm_ssh_agent is ssh"),
        ("Open MPI 5", ["--prtemca", "plm_ssh_agent", "ssh"], "plm_ssh_agent is ssh"),
        ("Open MPI 4", ["--mca", "plm", "isolated"], "plm is isolated"),
        ("Open MPI 5", ["--prtemca", "plm", "slurm"], "plm is slurm"),
        ("MPICH", ["-launcher", "fork"], "-launcher fork would start"),
        ("Intel MPI", ["-bootstrap-exec", "/usr/bin/ssh"], "would start the daemons outside"),
        ("Open MPI 4", ["-H", "localhost:2"], "names localhost"),
        ("Open MPI 5", ["--host", "agent1,elsewhere"], "names elsewhere"),
        ("MPICH", ["-hosts", "elsewhere:2"], "names elsewhere"),
    ],
)
def test_what_would_lead_out_of_the_session_is_refused(name: str, arguments: list[str], words: str) -> None:
    """Ranks outside the tasks are worse than none."""
    refusal = dialect_of(name).refusal(PLAN, arguments, {})
    assert refusal is not None
    assert words in refusal


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Open MPI 4", ["-H", "agent1:2,AGENT2.example"]),
        ("Open MPI 4", ["--mca", "plm_rsh_agent", "roujiamo-rsh", "--mca", "routed_radix", "1"]),
        ("Open MPI 4", ["--mca", "plm_rsh_agent", "/opt/bin/roujiamo-rsh", "--mca", "plm", "rsh"]),
        ("Open MPI 4", ["--mca", "orte_keep_fqdn_hostnames", "0"]),
        ("Open MPI 5", ["--map-by", "node"]),
        ("MPICH", ["-hosts", "198.51.100.2", "-launcher", "rsh"]),
        ("Intel MPI", ["-ppn", "1"]),
    ],
)
def test_what_stays_in_the_session_is_not_refused(name: str, arguments: list[str]) -> None:
    """The user's other arguments are the launcher's matter."""
    assert dialect_of(name).refusal(PLAN, arguments, {}) is None


@pytest.mark.parametrize(
    ("name", "flags", "variables"),
    [
        ("Open MPI 4", ["--mca", "plm_rsh_num_concurrent", "64", "--mca", "routed_radix", "200"], {}),
        ("Open MPI 4", ["--mca", "plm_rsh_num_concurrent", "64"], {"OMPI_MCA_plm_rsh_no_tree_spawn": "1"}),
        ("Open MPI 4", ["--mca", "plm_rsh_num_concurrent", "64", "--mca", "routed", "direct"], {}),
        (
            "Open MPI 5",
            ["--prtemca", "plm_ssh_num_concurrent", "64", "--prtemca", "rml_base_radix", "200"],
            {},
        ),
    ],
)
def test_a_tree_wider_than_its_agents_is_refused(
    name: str, flags: list[str], variables: dict[str, str]
) -> None:
    """135 hosts at radix 200 hang without a word; with fewer hosts, or with our own limit, nothing is wrong."""
    many = LaunchPlan(hosts=[LaunchHost(f"agent{n}", 1) for n in range(135)], folder="/run/s")
    refusal = dialect_of(name).refusal(many, flags, variables)
    assert refusal is not None
    assert "would hang" in refusal
    assert dialect_of(name).refusal(PLAN, flags, variables) is None
    assert dialect_of(name).refusal(many, flags[3:] if len(flags) > 3 else [], variables) is None


def test_names_cut_short_are_refused_where_two_would_be_the_same() -> None:
    """One host would get the ranks of both, more than it has slots; addresses are never cut."""
    plan = PLAN._replace(
        hosts=[LaunchHost("n1.east", 1), LaunchHost("N1.west", 1), LaunchHost("198.51.100.1", 1)]
    )
    for name, flags in [
        ("Open MPI 4", ["--mca", "orte_keep_fqdn_hostnames", "0"]),
        ("Open MPI 5", ["--prtemca", "prte_keep_fqdn_hostnames", "false"]),
    ]:
        refusal = dialect_of(name).refusal(plan, flags, {})
        assert refusal is not None
        assert "n1.east and N1.west would then have the same name" in refusal
        assert dialect_of(name).refusal(plan, [], {}) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "Open MPI 4",
            {
                "OMPI_MCA_oob_tcp_if_include": "10.0.0.0/24",
                "OMPI_MCA_btl_tcp_if_include": "10.0.0.0/24",
                "OMPI_MCA_oob_tcp_dynamic_ipv4_ports": "4000-4009",
                "OMPI_MCA_btl_tcp_port_min_v4": "4000",
                "OMPI_MCA_btl_tcp_port_range_v4": "10",
            },
        ),
        (
            "Open MPI 5",
            {
                "PRTE_MCA_prte_if_include": "10.0.0.0/24",
                "OMPI_MCA_btl_tcp_if_include": "10.0.0.0/24",
                "PRTE_MCA_oob_tcp_dynamic_ipv4_ports": "4000-4009",
            },
        ),
        ("MPICH", {"HYDRA_IFACE": "eth0", "MPIEXEC_PORT_RANGE": "4000:4009"}),
        ("Intel MPI", {"I_MPI_HYDRA_IFACE": "eth0", "I_MPI_PORT_RANGE": "4000:4009"}),
    ],
)
def test_the_network_and_the_ports_are_said_in_each_ones_words(name: str, expected: dict[str, str]) -> None:
    """And nothing is said where nothing is known."""
    told = PLAN._replace(network="10.0.0.0/24", interface="eth0", ports=(4000, 4009))
    assert expected.items() <= dialect_of(name).environment(told).items()
    assert not expected.keys() & dialect_of(name).environment(PLAN).keys()


def test_intels_tree_is_flat_where_an_interface_has_other_names_on_the_hosts() -> None:
    """Its daemons take the launch host's name for their own when they start others, and fail where they have none."""
    intel = dialect_of("Intel MPI")
    alike = [LaunchHost(f"agent{n}", 1, interface="eth0") for n in range(40)]
    told = PLAN._replace(hosts=alike, interface="eth0")
    assert "I_MPI_HYDRA_BRANCH_COUNT" not in intel.environment(told)
    odd = told._replace(hosts=[*alike, LaunchHost("agent40", 1, interface="ens5")])
    assert intel.environment(odd)["I_MPI_HYDRA_BRANCH_COUNT"] == "41"


@pytest.mark.parametrize("name", ["Open MPI 4", "Open MPI 5"])
def test_open_mpi_gets_no_ports_where_the_launch_host_is_a_host(name: str) -> None:
    """Its mpiexec listens on all of them, and the daemon and the ranks beside it would wait for ever."""
    here = [LaunchHost("agent1", 1), LaunchHost("198.51.100.2", 1, "agent2", is_here=True)]
    told = PLAN._replace(hosts=here, ports=(4000, 4009))
    refusal = dialect_of(name).refusal(told, [], {})
    assert refusal is not None
    assert "none is left for host agent2" in refusal
    assert not [value for value in dialect_of(name).environment(told).values() if "4000" in value]
    assert dialect_of(name).refusal(told._replace(ports=None), [], {}) is None
    assert dialect_of(name).refusal(told._replace(hosts=HOSTS), [], {}) is None


def test_fewer_ports_than_a_host_needs_are_refused() -> None:
    """The daemon and each process listen on one at least."""
    assert dialects.ports_refusal(PLAN._replace(ports=(4000, 4003))) is None
    refusal = dialects.ports_refusal(PLAN._replace(ports=(4000, 4002)))
    assert refusal is not None
    assert "than the 4 that" in refusal


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
    dialect = dialect_of(name)
    assert dialect.is_daemon(command)
    assert not dialect.is_daemon("test -e /opt/reported")


def test_open_mpi_may_have_all_its_daemons_attached_at_once() -> None:
    """More direct children than the limit would wait for each other for ever."""
    many = [LaunchHost(f"agent{n}", 1) for n in range(500)]
    for name, variable in [
        ("Open MPI 4", "OMPI_MCA_plm_rsh_num_concurrent"),
        ("Open MPI 5", "PRTE_MCA_plm_ssh_num_concurrent"),
    ]:
        plan = LaunchPlan(hosts=many, folder="/run/s")
        assert int(dialect_of(name).environment(plan)[variable]) > 500
