"""Which mpiexec is used, and by which names it is told the hosts."""

import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from roujiamo.dialects import LaunchPlan, mca
from roujiamo.errors import LauncherError
from roujiamo.run import launcher
from roujiamo.run.launch_hosts import launch_hosts
from roujiamo.run.launcher import (
    Finding,
    find_launcher,
    launch_environment,
    own_interfaces,
    said_parameters,
)
from roujiamo.system.programs import reap_within
from tests.support import is_alive, until

ALIAS = "198.51.100.1"


def told(name: str, address: str = "192.0.2.9") -> dict[str, Any]:
    return {"name": name, "alias": ALIAS, "slots": 2, "facts": {"address": address, "interface": "eth0"}}


OWN_NAMES = [
    "localhost",
    socket.gethostname(),
    socket.gethostname().upper(),
    f"{socket.gethostname().partition('.')[0]}.somewhere.invalid",
    *sorted({interface.address for interface in own_interfaces()}),
]


@pytest.mark.parametrize("name", OWN_NAMES)
def test_a_name_that_could_mean_the_launch_host_becomes_an_alias(name: str) -> None:
    """A launcher would run that host's ranks by itself, outside Mesos; and other tools would, too."""
    (host,) = launch_hosts([told(name)], ())
    assert (host.name, host.shown) == (ALIAS, ALIAS)


def test_a_name_that_means_another_machine_is_kept() -> None:
    """So the launcher's messages name the host as people do; an address is a name as well."""
    (host,) = launch_hosts([told("192.0.2.7")], ())
    assert (host.name, host.shown, host.slots, host.interface) == ("192.0.2.7", "192.0.2.7", 2, "eth0")


def test_a_name_that_does_not_resolve_is_shown_but_not_told() -> None:
    """The launcher would wait for name servers; tools that ask the session may use the name."""
    (host,) = launch_hosts([told("agent-7.invalid")], ())
    assert (host.name, host.shown) == (ALIAS, "agent-7.invalid")


def test_hosts_that_share_a_name_have_aliases_only() -> None:
    """The name alone means none of them."""
    hosts = launch_hosts([told("192.0.2.7"), {**told("192.0.2.7"), "alias": "198.51.100.2"}], ())
    assert [(host.name, host.shown) for host in hosts] == [(ALIAS, ALIAS), ("198.51.100.2", "198.51.100.2")]


def test_a_host_with_an_address_of_this_machine_is_here() -> None:
    """It shares ports with the launcher."""
    hosts = launch_hosts([told("192.0.2.7", "10.0.0.1"), told("192.0.2.8", "10.0.0.2")], {"10.0.0.2"})
    assert [host.is_here for host in hosts] == [False, True]


def script(folder: Path, text: str, mode: int = 0o755) -> str:
    path = folder / "mpiexec"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    ("text", "version"), [("echo slurm 23.11.4; echo more", "slurm 23.11.4"), ("exit 3", "nothing")]
)
def test_an_mpiexec_of_no_known_mpi_is_taken_as_it_is(tmp_path: Path, text: str, version: str) -> None:
    """It may read one of the forms in which the hosts are told; what it says of itself is for the warning."""
    launcher = find_launcher(script(tmp_path, text))
    assert (launcher.dialect, launcher.version) == (None, version)
    assert launcher.path == str(tmp_path / "mpiexec")


def test_a_launcher_is_known_by_what_it_says_and_not_by_its_name(tmp_path: Path) -> None:
    """An administrator's `mpiexec` may be any; PRRTE's own names are prterun and prte."""
    launcher = find_launcher(script(tmp_path, "echo 'prterun (PRRTE) 3.0.14'"))
    assert launcher.name == "Open MPI 5"


def test_a_launcher_is_not_asked_before_there_is_time_for_it(tmp_path: Path) -> None:
    """That there is one is known at once; its answer takes CPU that a session needs before its hosts come."""
    asked = tmp_path / "asked"
    path = script(tmp_path, f"echo x >>{asked}; echo 'mpiexec (OpenRTE) 4.1.8'")
    with Finding(path) as finding:
        assert not asked.exists()
        finding.begin()
        reap_within(finding.pid, 20)
        assert finding.answer().version == "mpiexec (OpenRTE) 4.1.8"
    assert asked.read_text() == "x\n"


def test_an_mpiexec_that_gives_no_answer_is_ended_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hang in a file system that is away."""
    monkeypatch.setattr(launcher, "VERSION_SECONDS", 0.2)
    here = tmp_path / "pid"
    with pytest.raises(
        LauncherError, match=r"--version does not work: no answer within 0\.2 s; name another"
    ):
        find_launcher(script(tmp_path, f"sleep 1000 & echo $$ $! >{here}; sleep 1000; true"))
    for pid in map(int, here.read_text().split()):
        until(lambda pid=pid: not is_alive(pid), 10, "its end")


def test_what_a_launcher_leaves_running_does_not_keep_its_answer(tmp_path: Path) -> None:
    """A wrapper may start something that holds its stdout."""
    here = tmp_path / "pid"
    path = script(tmp_path, f"sleep 1000 & echo $! >{here}; echo 'mpiexec (OpenRTE) 4.1.8'")
    try:
        assert find_launcher(path).name == "Open MPI 4"
    finally:
        os.kill(int(here.read_text()), signal.SIGKILL)


def test_no_mpiexec_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the one that was named, nor one on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LauncherError, match="no mpiexec here; install an MPI"):
        find_launcher(None)
    with pytest.raises(LauncherError, match="no /no/such/mpiexec here"):
        find_launcher("/no/such/mpiexec")


@pytest.mark.parametrize(
    ("what", "sentence", "status"),
    [
        ("no mode", r"mpiexec is there but may not be executed \(chmod \+x\); name an MPI's mpiexec", 126),
        ("a folder", "mpiexec is a folder; name an MPI's mpiexec with --mpiexec", 126),
        (
            "no interpreter",
            "--version does not work: there is no such interpreter as its first line names",
            127,
        ),
    ],
)
def test_an_mpiexec_that_is_there_but_no_program_is_a_clear_error(
    tmp_path: Path, what: str, sentence: str, status: int
) -> None:
    """That there is none would send the user to look in the wrong place."""
    path = tmp_path / "mpiexec"
    if what == "a folder":
        path.mkdir()
    else:
        path.write_text("#!/no/such/interpreter\n" if what == "no interpreter" else "#!/bin/sh\n")
        path.chmod(0o755 if what == "no interpreter" else 0o644)
    with pytest.raises(LauncherError, match=sentence) as caught:
        find_launcher(str(path))
    assert caught.value.exit_status == status


INCLUDES = ("OMPI_MCA_btl_tcp_if_include", "OMPI_MCA_oob_tcp_if_include", "PRTE_MCA_prte_if_include")


@pytest.mark.parametrize(
    ("words", "variables", "file", "unsaid"),
    [
        ([], {}, "", set()),
        (["--mca", "btl_tcp_if_exclude", "docker0,lo"], {}, "", {"OMPI_MCA_btl_tcp_if_include"}),
        ([], {"OMPI_MCA_btl_tcp_if_exclude": "docker0"}, "", {"OMPI_MCA_btl_tcp_if_include"}),
        ([], {}, "# mine\n btl_tcp_if_exclude = docker0 \n", {"OMPI_MCA_btl_tcp_if_include"}),
        ([], {}, "# btl_tcp_if_exclude = docker0\n", set()),
        ([], {"PRTE_MCA_prte_if_exclude": "docker0"}, "", {"PRTE_MCA_prte_if_include"}),
        (
            ["--mca", "oob_tcp_if_exclude", "docker0"],
            {},
            "",
            {"PRTE_MCA_prte_if_include", "OMPI_MCA_oob_tcp_if_include"},
        ),
    ],
)
def test_interfaces_are_not_named_where_the_user_leaves_some_out(
    words: list[str],
    variables: dict[str, str],
    file: str,
    unsaid: set[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Open MPI has both refused, its ranks hang; and whoever leaves some out knows the network."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".openmpi").mkdir()
    (tmp_path / mca.USER_FILES[0]).write_text(file)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    plan = LaunchPlan(hosts=launch_hosts([told("192.0.2.7")], ()), folder="/run/s", network="10.0.0.0/24")
    environment = launch_environment(None, plan, {"socket": "/run/s/socket"}, said_parameters(None, words))
    assert {name for name in INCLUDES if name not in environment} == unsaid


def test_the_users_own_interfaces_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """By either name of the parameter."""
    monkeypatch.setenv("OMPI_MCA_btl_tcp_if_include", "ib0")
    monkeypatch.setenv("PRTE_MCA_oob_tcp_if_include", "ib0")
    plan = LaunchPlan(hosts=launch_hosts([told("192.0.2.7")], ()), folder="/run/s", network="10.0.0.0/24")
    environment = launch_environment(None, plan, {"socket": "/run/s/socket"}, said_parameters(None))
    assert environment["OMPI_MCA_btl_tcp_if_include"] == "ib0"
    assert "PRTE_MCA_prte_if_include" not in environment


def test_what_an_allocation_has_set_is_not_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session of its own inside of it has its own network; a run that joins it keeps what it does not say itself."""

    def environment(network: str, *arguments: list[str], bind: bool = False) -> dict[str, str]:
        hosts = launch_hosts([told("192.0.2.7")], ())
        plan = LaunchPlan(hosts=hosts, folder="/run/s", network=network, ports=(5000, 5100), bind=bind)
        return launch_environment(None, plan, {"socket": "/run/s/socket"}, said_parameters(None), *arguments)

    monkeypatch.setenv("OMPI_MCA_oob_tcp_if_include", "mine")
    for name, value in environment("10.0.0.0/24").items():
        monkeypatch.setenv(name, value)
    binding = "PRTE_MCA_hwloc_default_binding_policy"
    name = "OMPI_MCA_btl_tcp_if_include"
    assert (environment("10.9.0.0/24")[name], environment("10.9.0.0/24")[binding]) == ("10.9.0.0/24", "none")
    assert binding not in environment("10.9.0.0/24", bind=True)
    assert environment("10.9.0.0/24")["OMPI_MCA_oob_tcp_if_include"] == "mine"
    assert environment("10.9.0.0/24", [])[name] == "10.0.0.0/24"
    assert environment("10.9.0.0/24", ["if_include"])[name] == "10.9.0.0/24"
    monkeypatch.setenv(name, "changed inside")
    assert environment("10.9.0.0/24")[name] == "changed inside"
