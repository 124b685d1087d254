"""The options of a session: one table for every command line, the environment, and the mode without a wrapper."""

import pytest

from roujiamo.errors import UsageError
from roujiamo.session.option_values import (
    read_amount,
    read_count,
    read_hosts,
    read_ports,
    read_seconds,
    read_switch,
    read_time_limit,
    show_time,
)
from roujiamo.session.options import (
    OPTIONS,
    LaunchOptions,
    default_of,
    from_environment,
    launch_options,
    session_request,
)
from roujiamo.session.request import SessionRequest


def test_each_option_fills_a_field_that_is_there() -> None:
    """A row for a field that nobody has would be an option that does nothing."""
    fields = {name for holder in (SessionRequest, LaunchOptions) for name in holder._fields}
    assert {option.field for option in OPTIONS} <= fields


def test_no_two_options_share_a_flag_a_variable_or_a_field() -> None:
    """Each means one thing."""
    for names in (
        [flag for option in OPTIONS for flag in (*option.flags, *option.aliases, *option.off_flags)],
        [option.variable for option in OPTIONS],
        [option.field for option in OPTIONS],
    ):
        assert len(names) == len(set(names))


def test_the_environment_gives_values_as_the_command_line_would() -> None:
    """Numbers are numbers, lists are words of a shell, and an empty variable says nothing."""
    values = from_environment(
        {
            "ROUJIAMO_NODES": "3",
            "ROUJIAMO_MEM": "1.5e3",
            "ROUJIAMO_EXCLUSIVE": "yes",
            "ROUJIAMO_URI": "http://a/b 'file:///with blank'",
            "ROUJIAMO_MPI_ARGS": "-x 'a b'",
            "ROUJIAMO_CALLBACK_PORT": "4000-4010",
            "ROUJIAMO_ROLE": "",
        }
    )
    assert values == {
        "nodes": 3,
        "mem_per_process": 1500.0,
        "exclusive": True,
        "uris": ("http://a/b", "file:///with blank"),
        "mpi_arguments": ("-x", "a b"),
        "callback_ports": (4000, 4010),
    }


def test_a_wrong_variable_is_named() -> None:
    """The user must know which one to mend."""
    with pytest.raises(UsageError, match="ROUJIAMO_CPUS: 'many' is not an amount"):
        from_environment({"ROUJIAMO_CPUS": "many"})


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (read_count, "0"),
        (read_count, "-1"),
        (read_count, "²"),
        (read_count, "1000001"),
        (read_amount, "-0.5"),
        (read_amount, "nan"),
        (read_amount, "inf"),
        (read_seconds, "0"),
        (read_seconds, "soon"),
        (read_hosts, "agent1:2"),
        (read_hosts, "agent1,agent2:4"),
        (read_ports, "0"),
        (read_ports, "70000"),
        (read_ports, "20-10"),
        (read_ports, "-"),
        (read_switch, "maybe"),
    ],
)
def test_what_cannot_be_meant_is_refused(read: object, text: str) -> None:
    """One sentence, with the text in it."""
    assert callable(read)
    with pytest.raises(ValueError, match="is n"):
        read(text)


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [
        ("90", 5400, "1:30:00"),
        ("1:05", 65, "1:05"),
        ("2:00:05", 7205, "2:00:05"),
        ("1-2", 26 * 3600, "1-02:00:00"),
        ("1-2:30", 26.5 * 3600, "1-02:30:00"),
        ("1-0:0:7", 86407, "1-00:00:07"),
        ("0:90", 90, "1:30"),
        ("0", 0, "0:00"),
        ("unlimited", 0, "0:00"),
    ],
)
def test_a_time_limit_is_written_as_srun_writes_it(text: str, seconds: float, shown: str) -> None:
    """srun(1), --time."""
    assert (read_time_limit(text), show_time(seconds)) == (seconds, shown)


@pytest.mark.parametrize("text", ["", "1h", "-5", "1:2:3:4", "1-", "1-2:3:4:5", "1.5", "a-1", ":", "1:", "²"])
def test_what_is_no_time_limit_is_refused(text: str) -> None:
    """With the forms that there are."""
    with pytest.raises(ValueError, match="is not a time limit: MINUTES, MM:SS"):
        read_time_limit(text)


def test_a_request_takes_its_fields_and_the_chosen_variables_with_their_values() -> None:
    """What belongs to launching stays out of the request, and the other way round."""
    values = {"nodes": 2, "mpiexec": "/opt/mpi/bin/mpiexec", "environment": ("HERE", "GIVEN=x=y")}
    request = session_request(values, {"HERE": "1", "OTHER": "2"}, master="local")
    assert (request.nodes, request.environment) == (2, {"HERE": "1", "GIVEN": "x=y"})
    assert launch_options(values) == LaunchOptions(mpiexec="/opt/mpi/bin/mpiexec")


@pytest.mark.parametrize(("entry", "words"), [("GONE", "no such variable"), ("=x", "NAME or NAME=VALUE")])
def test_an_env_entry_that_names_nothing_is_refused(entry: str, words: str) -> None:
    """Better than a rank that misses it."""
    with pytest.raises(UsageError, match=words):
        session_request({"environment": (entry,)}, {}, master="local")


def test_defaults_are_those_of_the_request() -> None:
    """They are written in one place."""
    by_field = {option.field: default_of(option) for option in OPTIONS}
    request = SessionRequest(master="local")
    assert by_field["cpus_per_process"] == request.cpus_per_process
    assert by_field["timeout_seconds"] == request.timeout_seconds


def test_the_ports_reach_the_ranks_of_mpis_that_pass_nothing_on() -> None:
    """UCX and libfabric read them in each rank; what the user says goes before."""
    values = {"ports": (4000, 4009), "environment": ("FI_TCP_PORT_LOW_RANGE=1", "MINE=2")}
    assert session_request(values, {}, master="local").environment == {
        "UCX_TCP_PORT_RANGE": "4000-4009",
        "FI_TCP_PORT_LOW_RANGE": "1",
        "FI_TCP_PORT_HIGH_RANGE": "4009",
        "MINE": "2",
    }
