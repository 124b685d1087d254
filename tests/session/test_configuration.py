"""roujiamo.toml: its keys are the options' long names, and what is wrong is told with its line."""

import pytest

from roujiamo.session.configuration import ConfigurationError, key_names, parse
from roujiamo.session.options import OPTIONS


def values(text: str) -> dict[str, object]:
    """What a configuration says, by field."""
    return {entry.option.field: entry.value for entry in parse(text, home="/home/me")}


def test_values_are_read_as_the_command_line_reads_them() -> None:
    """Numbers, texts, switches, lists and paths."""
    text = """
        # of the site
        master = "zk://a:2181,b:2181/mesos"
        nodes = 2
        cpus-per-task = 0.5
        exclusive = true
        callback-port = "4000-4010"
        constraint = ["zone==a",
                      "rack~r[12]"]
        uri = "http://a/b"
        mpi-args = "-x 'a b'"
        secret-file = "~/mesos-secret"
        verbose = 1
    """
    assert values(text) == {
        "master": "zk://a:2181,b:2181/mesos",
        "nodes": 2,
        "cpus_per_process": 0.5,
        "exclusive": True,
        "callback_ports": (4000, 4010),
        "constraints": ("zone==a", "rack~r[12]"),
        "uris": ("http://a/b",),
        "mpi_arguments": ("-x", "a b"),
        "secret_file": "/home/me/mesos-secret",
        "verbosity": 1,
    }


def test_an_option_and_its_opposite_are_both_keys() -> None:
    """As they are both flags."""
    assert values("spread = true") == values("pack = false") == {"spread": True}
    assert values("pack = true") == values("spread = false") == {"spread": False}


def test_each_long_flag_is_a_key() -> None:
    """The table of options is the only one there is."""
    flags = {
        flag
        for option in OPTIONS
        for flag in (*option.flags, *option.aliases, *option.off_flags)
        if flag[:2] == "--"
    }
    assert {f"--{name}" for name in key_names()} == flags


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("nodez = 2", 1, "nodez: there is no such option; did you mean nodes?"),
        ("\n\ntime_out = 2", 3, "time_out: there is no such option; did you mean timeout?"),
        ('zzqx = "a"', 1, "`roujiamo run --help` shows them"),
        ("nodes = 1\nmem = 'many'", 2, "mem: 'many' is not an amount of 0 or more"),
        ("nodes = true", 1, "nodes: true is no N"),
        ("exclusive = 3", 1, "exclusive: '3' is neither yes nor no"),
        ("nodes = [1]", 1, "one value, not a list"),
        ("host = [[1]]", 1, "a list where a text or a number should be"),
        ("\n[run]\nnodes = 1", 2, "there are no tables"),
        ("run.nodes = 1", 1, "there are no tables"),
        ('image = "a"\ndocker_image = "b"', 2, "docker_image says again what line 1 has said"),
        ("spread = true\npack = true", 2, "pack says again what line 1 has said"),
        ("nodes = 1\nmaster = m1:5050", 2, 'a text stands in quotes: master = "m1:5050"'),
        ("nodes = 1\nnodes = 2", 2, "this is no TOML"),
        ("timeout", 1, "this is no TOML: Expected '='"),
        ('secret = "hush"', 1, "no secret stands in a configuration"),
        ("nodes = " + "9" * 5000, 1, "too large"),
        ("host = " + "[" * 5000 + "]" * 5000, 1, "too large"),
        # Whole values are passed over where a line is looked for.
        ("mpiexec = '''\nnodez = 1'''\nuri = [\n'nodez = 1',\n]\nnodez = 1", 6, "nodez"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, line: int, words: str) -> None:
    """The user must know what to mend, and where."""
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    assert caught.value.line == line
    assert words in str(caught.value)
    assert "hush" not in str(caught.value)
