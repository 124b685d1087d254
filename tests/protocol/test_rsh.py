"""The rsh agent's command line: what ssh would make of it, and what the four launchers really pass."""

import random

import pytest

from roujiamo.errors import UsageError
from roujiamo.protocol import rsh
from roujiamo.protocol.frames import MAX_COMMAND
from roujiamo.protocol.rsh import HELP, RUN, SHOW_VERSION, ArgumentError, parse_arguments, parse_destination

# Recorded from mpiexec of Open MPI 4.1.8; quotes and the leading blank are part of the words.
OPEN_MPI_4 = """\
n2
 orted
-mca
ess
"env"
-mca
ess_base_jobid
"1940979712"
-mca
ess_base_vpid
1
-mca
ess_base_num_procs
"3"
-mca
orte_node_regex
"vm,n[1:2-3]@0(3)"
-mca
orte_hnp_uri
"1940979712.0;tcp://192.0.2.2:43385;tcp6://[fd00::2]:52677"
--mca
plm_rsh_agent
"roujiamo-rsh"
-mca
plm
"rsh"
--tree-spawn
-mca
routed
"radix"
-mca
orte_parent_uri
"1940979712.0;tcp://192.0.2.2:43385;tcp6://[fd00::2]:52677"
-mca
pmix
"^s1,s2,cray,isolated\""""

# The same with an mpiexec that was called by its absolute path: it then brings its prefix along, as shell text.
OPEN_MPI_4_PREFIX = """\
n2
   OPAL_PREFIX=/opt/m ; export OPAL_PREFIX;    PATH=/opt/m/bin:$PATH ; export PATH ;   /opt/m/bin/orted
-mca
ess
"env"
--tree-spawn
-mca
pmix
"^s1,s2,cray,isolated\""""

# Recorded from mpiexec of Open MPI 5.0.11.
OPEN_MPI_5 = """\
n3
PRTE_PREFIX=/o/m;export PRTE_PREFIX;LD_LIBRARY_PATH=/o/m/lib:$LD_LIBRARY_PATH;export LD_LIBRARY_PATH;/o/m/bin/prted
--prtemca
ess
"env"
--prtemca
ess_base_nspace
"prterun-vm-8029@0"
--prtemca
prte_hnp_uri
"prterun-vm-8029@0.0;tcp://192.0.2.2:58777:64,24;tcp6://[fd00::2]:57993:64,24"
--tree-spawn"""

# As MPICH's mpiexec.hydra calls it with launcher ssh.
HYDRA = """\
-x
n1
"/opt/mpich/bin/hydra_pmi_proxy"
--control-port
192.0.2.2:39931
--rmk
user
--launcher
ssh
--demux
poll
--pgid
0
--retries
10
--usize
-2
--proxy-id
0"""


def words(*texts: str) -> list[bytes]:
    """Return an argv of bytes."""
    return [text.encode() for text in texts]


@pytest.mark.parametrize(
    ("recorded", "host"),
    [(OPEN_MPI_4, b"n2"), (OPEN_MPI_4_PREFIX, b"n2"), (OPEN_MPI_5, b"n3")],
    ids=["open-mpi-4", "open-mpi-4-prefix", "open-mpi-5"],
)
def test_an_open_mpi_command_is_joined_as_it_is(recorded: str, host: bytes) -> None:
    """The launcher has quoted for the remote shell already: a blank more or less breaks orted's arguments."""
    arguments = words(*recorded.split("\n"))
    invocation = parse_arguments(arguments)
    assert invocation.host == host
    assert invocation.command == b" ".join(arguments[1:])
    assert invocation.action == RUN
    assert invocation.notes == []


def test_hydras_own_option_is_skipped_and_the_proxys_are_not() -> None:
    """Hydra passes ssh's -x before the host; what follows the command's first word is never ours."""
    arguments = words(*HYDRA.split("\n"))
    invocation = parse_arguments(arguments)
    assert invocation.host == b"n1"
    assert invocation.command == b" ".join(arguments[2:])


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["-x"],
        ["-p", "22"],
        ["-p22"],
        ["-o", "BatchMode=yes"],
        ["-oBatchMode=yes"],
        ["-o", "-n"],
        ["-tto", "BatchMode=yes", "-l", "root"],
        ["-46AaCgKkMTtXxYy"],
        ["-lroot", "-i", "/home/u/key", "-F", "none"],
        ["--"],
        ["-x", "--"],
        ["-e", "none", "-L", "1:localhost:1", "-R1:localhost:1", "-D", "1", "-w0", "-J", "h", "-S", "none"],
        ["-b", "::1", "-B", "eth0", "-c", "c", "-E", "log", "-I", "i", "-m", "m", "-P", "tag"],
    ],
    ids=" ".join,
)
def test_sshs_options_before_the_host_are_skipped_with_their_values(options: list[str]) -> None:
    """Users put ssh's options into the agent's setting; none of them may be taken for the host."""
    invocation = parse_arguments(words(*options, "host", "cmd", "-n", "--", "-x"))
    assert (invocation.host, invocation.command) == (b"host", b"cmd -n -- -x")
    assert not invocation.no_stdin


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["host", "-n", "cmd"], b"cmd"),
        (["host", "-o", "A=b", "-nv", "cmd", "-v"], b"cmd -v"),
        (["host", "-n", "--", "-cmd", "x"], b"-cmd x"),
        (["-n", "host", "--", "cmd"], b"cmd"),
        (["-n", "--", "host", "-x", "cmd"], b"-x cmd"),
        (["-n", "--", "host", "--", "cmd"], b"-- cmd"),
        (["-n", "host", "-", "cmd"], b"- cmd"),
    ],
    ids=str,
)
def test_options_between_host_and_command_are_ours_until_two_dashes(
    arguments: list[str], command: bytes
) -> None:
    """ssh looks for options once more behind the host, unless `--` stood before it."""
    invocation = parse_arguments(words(*arguments))
    assert (invocation.host, invocation.command, invocation.no_stdin) == (b"host", command, True)


def test_flags_that_are_obeyed() -> None:
    """-n, -f (which implies -n), -v and -q are the ones that mean something here."""
    plain = parse_arguments(words("h", "c"))
    assert (plain.no_stdin, plain.background, plain.verbose, plain.quiet) == (False, False, 0, 0)
    flagged = parse_arguments(words("-fqvv", "h", "c"))
    assert (flagged.no_stdin, flagged.background, flagged.verbose, flagged.quiet) == (True, True, 2, 1)


@pytest.mark.parametrize(
    ("arguments", "action"),
    [
        (["--help"], HELP),
        (["host", "--help"], HELP),
        (["--version"], SHOW_VERSION),
        (["-V"], SHOW_VERSION),
        (["-xV"], SHOW_VERSION),
        (["host", "ls", "--help"], RUN),
    ],
    ids=str,
)
def test_help_and_version_are_answered_unless_they_are_the_commands(
    arguments: list[str], action: str
) -> None:
    """`roujiamo-rsh host ls --help` is for ls."""
    assert parse_arguments(words(*arguments)).action == action


@pytest.mark.parametrize(
    ("destination", "host"),
    [
        ("host", b"host"),
        ("Host.Example.org", b"Host.Example.org"),
        ("user@host", b"host"),
        ("user@realm@host", b"host"),
        ("198.51.100.7", b"198.51.100.7"),
        ("fe80::1%eth0", b"fe80::1%eth0"),
        ("me@2001:db8::1", b"2001:db8::1"),
        ("[::1]", b"::1"),
        ("ssh://host", b"host"),
        ("ssh://host/", b"host"),
        ("ssh://host:", b"host"),
        ("ssh://user@host:22", b"host"),
        ("SSH://user;x=y@host:2222/", b"host"),
        ("ssh://[fe80::1%eth0]:22", b"fe80::1%eth0"),
        ("ssh://me@[::1]", b"::1"),
    ],
)
def test_a_destination_has_one_host(destination: str, host: bytes) -> None:
    """The forms of ssh(1); case and domain are kept, since the session decides what matches."""
    assert parse_destination(destination.encode(), []) == host


@pytest.mark.parametrize(
    "destination",
    [
        "",
        "@host",
        "user@",
        "[]",
        "user@-oProxyCommand=x",
        "two words",
        "host\n",
        "ssh://",
        "ssh://host/path",
        "ssh://host:0",
        "ssh://host:65536",
        "ssh://host:" + "9" * 5000,
        "ssh://host:22x",
        "ssh://::1:22",
        "h" * 256,
    ],
    ids=lambda text: text[:20],
)
def test_what_names_no_host_is_refused(destination: str) -> None:
    """A host that looks like an option is how ssh clients were once made to run commands."""
    with pytest.raises(ArgumentError) as caught:
        parse_destination(destination.encode(), [])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "no host"),
        (["-x"], "no host"),
        (["--"], "no host"),
        (["host"], "no login shell"),
        (["host", "-n"], "no login shell"),
        (["host", ""], "no login shell"),
        (["-o"], "-o needs a value"),
        (["host", "-p"], "-p needs a value"),
        (["-Z", "host", "c"], "-Z is not"),
        (["--quiet", "host", "c"], "--quiet is not"),
        (["-é", "host", "c"], "is not an option"),
        (["-N", "host"], "-N asks ssh to run no command"),
        (["-nW", "h:22", "host"], "-W asks ssh to forward"),
        (["host", "x" * (MAX_COMMAND + 1)], "put it into a file"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_mistake_is_one_sentence_and_sshs_255(arguments: list[str], part: str) -> None:
    """A launcher shows that sentence, and takes 255 for "the agent itself failed"."""
    with pytest.raises(ArgumentError) as caught:
        parse_arguments(words(*arguments))
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 255
    assert isinstance(caught.value, UsageError)


def test_the_longest_command_that_a_shell_can_be_given_passes() -> None:
    """Exactly MAX_ARG_STRLEN less the closing NUL; one word or many."""
    assert len(parse_arguments([b"h", b"x" * MAX_COMMAND]).command) == MAX_COMMAND
    half = MAX_COMMAND // 2
    assert len(parse_arguments([b"h", b"x" * half, b"y" * half]).command) == 2 * half + 1


@pytest.mark.parametrize(
    ("command", "joined"),
    [
        ([b"echo", b"a  b", b"", b"c"], b"echo a  b  c"),
        ([b"printf '%s\\n' \"$HOME\""], b"printf '%s\\n' \"$HOME\""),
        ([b"one\ntwo", b"three"], b"one\ntwo three"),
        ([b"\xff\xfe", "gr\u00fc\u00df".encode()], b"\xff\xfe gr\xc3\xbc\xc3\x9f"),
        ([b" "], b" "),
    ],
)
def test_words_are_joined_by_single_blanks_and_nothing_is_quoted(command: list[bytes], joined: bytes) -> None:
    """The remote shell splits again; that is rsh's contract, surprising as it may be, and any byte may be in it."""
    assert parse_arguments([b"host", *command]).command == joined


def test_what_is_passed_over_is_noted_for_the_verbose() -> None:
    """With -v users see why their -t or -l did nothing."""
    notes = parse_arguments(words("-t", "-p", "22", "-l", "root", "ssh://me@host:22", "c")).notes
    assert len(notes) == 5
    assert "terminal" in notes[0]
    assert "-p 22" in notes[1]
    assert all("\n" not in note for note in notes)


def test_a_message_shows_any_bytes_in_one_short_line() -> None:
    """A name may hold an escape sequence, and a command may be long."""
    assert rsh.show(b"h\x1b[31m\n") == "'h\\x1b[31m\\n'"
    assert rsh.show("grüß".encode()) == "grüß"
    assert len(rsh.show(b"x" * 10_000)) == 103


def test_random_arguments_end_in_a_command_or_in_one_sentence() -> None:
    """Whatever is typed: no other exception than the documented one, and no host that looks like an option."""
    rng = random.Random(20)
    sentences = []
    pieces = [
        b"-",
        b"--",
        b"-n",
        b"-o",
        b"-oX",
        b"-p",
        b"22",
        b"host",
        b"u@h",
        b"ssh://",
        b"[",
        b"]",
        b":",
        b"@",
        b"/",
    ]
    pieces += [b"-tto", b"", b" ", b"\xff", b"\n", b"--help", b"-V", b"-x-", b"%", b"1"]
    for _ in range(20_000):
        arguments = [b"".join(rng.choices(pieces, k=rng.randint(1, 3))) for _ in range(rng.randint(0, 5))]
        try:
            invocation = parse_arguments(arguments)
        except ArgumentError as error:
            sentences.append(str(error))
            continue
        if invocation.action == RUN:
            assert invocation.host
            assert invocation.host[:1] != b"-"
            assert invocation.command
    assert not [sentence for sentence in sentences if not sentence or "\n" in sentence]
