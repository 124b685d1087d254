"""Failures explained: from what a host said, and how it ended, to one line and a remedy, or to nothing."""

from __future__ import annotations

import pytest

from roujiamo.session.explanations import Ending, Explanation, explain_daemon, remedy_of_task, sentences

# What was seen of real daemons, shells and loaders: status, stderr, and a word of the remedy.
SEEN = {
    "dash: no such file": (127, "/bin/sh: 1: /opt/mpi/bin/orted: not found\n", "--prefix"),
    "bash: no such file": (127, "/bin/sh: line 1: /opt/mpi/bin/orted: No such file or directory\n", "--prefix"),
    "bash: not on PATH": (127, "sh: line 1: orted: command not found\n", "--prefix"),
    "busybox": (127, "sh: orted: not found\n", "--prefix"),
    "not executable": (126, "/bin/sh: 1: /opt/mpi/bin/orted: Permission denied\n", "mode"),
    "another processor's": (126, "/bin/sh: 1: /opt/mpi/bin/orted: Exec format error\n", "processor"),
    "library missing": (
        127,
        "/opt/mpi/bin/orted: error while loading shared libraries: libopen-rte.so.40: cannot open shared object file\n",
        "LD_LIBRARY_PATH",
    ),
    "library damaged": (
        127,
        "orted: error while loading shared libraries: /lib/libhwloc.so.15: file too short\n",
        "damaged",
    ),
    "system too old": (
        1,
        "orted: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.34' not found (required by orted)\n",
        "newer system",
    ),
    "symbols": (127, "orted: symbol lookup error: orted: undefined symbol: opal_init_x\n", "two versions"),
    "other version": (
        1,
        "[agent1:71] [[8,0],1] ORTE_ERROR_LOG: Data unpack had inadequate space in file grpcomm.c at line 355\n",
        "another version",
    ),
    "disk full": (1, "sh: 1: cannot create /tmp/x: No space left on device\n", "disk is full"),
    "memory": (
        127,
        "orted: error while loading shared libraries: libfabric.so.1: failed to map segment from shared object\n",
        "--overhead-mem",
    ),
    "processes": (2, "/bin/sh: 1: Cannot fork\n", "NPROC"),
    "descriptors": (1, "[agent1:7] opal_os: Too many open files\n", "NOFILE"),
    "no way back": (
        1,
        "A process or daemon was unable to complete a TCP connection\nto another process:\n",
        "--interface",
    ),
    "killed": (137, "", "SIGKILL"),
    "crashed": (139, "*** Process received signal ***\n", "crashed"),
}  # fmt: skip


@pytest.mark.parametrize("case", SEEN)
def test_what_a_daemon_dies_of_is_told_with_its_own_line_and_a_remedy(case: str) -> None:
    """The line is quoted as it was said, without what stood around it."""
    status, stderr, word = SEEN[case]
    found = explain_daemon(Ending("agent1", "orted", status, f"a banner of that host\n{stderr}and more\n"))
    assert found is not None
    assert word in found.remedy
    assert found.line in stderr.strip().splitlines()[0] if found.line else status > 128


@pytest.mark.parametrize(
    ("status", "stderr"),
    [
        (3, ""),
        (1, "[agent1:12] the rank's program ended\n"),
        # A warning that stopped nothing: the words alone are no failure.
        (0, "/bin/sh: 1: tput: not found\n"),
        # "not found" of something else is no missing daemon, whose status a shell makes 127.
        (1, "help file help-orted.txt not found\n"),
        (143, ""),
    ],
)
def test_what_no_row_fits_is_not_explained(status: int, stderr: str) -> None:
    """A guess is worse than nothing: the launcher has said what it knows."""
    assert explain_daemon(Ending("agent1", "orted", status, stderr)) is None


def test_only_a_daemon_that_is_found_by_the_prefix_is_told_of_it() -> None:
    """Hydra calls its daemons by the path of its own mpiexec."""
    for daemon, is_told in (("orted", True), ("prted", True), ("hydra_pmi_proxy", False)):
        found = explain_daemon(Ending("agent1", daemon, 127, f"/bin/sh: 1: /opt/{daemon}: not found\n"))
        assert found is not None
        assert ("--prefix" in found.remedy) is is_told
        assert "{" not in found.remedy


def test_hosts_with_the_same_trouble_share_one_remedy() -> None:
    """64 hosts without the MPI are two lines, with the hosts in their natural order."""
    several = [
        Explanation(f"n{number}", f"sh: {number}: orted: not found", "install") for number in (10, 2, 1)
    ]
    other = Explanation("n3", "", "look")
    assert sentences([*several, other]) == [
        "n10 said: sh: 10: orted: not found",
        "n1, n2 and n10: install",
        "n3: look",
    ]


def test_what_a_host_says_cannot_move_the_cursor_nor_fill_the_screen() -> None:
    """It comes from another machine."""
    found = explain_daemon(Ending("a", "orted", 127, "\x1b[2J\x07 not found " + "x" * 5000))
    assert found is not None
    assert found.line.isprintable()
    assert len(found.line) <= 240


@pytest.mark.parametrize(
    ("told", "word"),
    [
        ("Memory limit exceeded: Requested: 64MB Maximum Used: 64MB", "-m"),
        ("container limitation memory", "-m"),
        ("Disk usage (20MB) exceeds quota (10MB)", "--disk"),
        ("Command exited with status 127", "python3"),
        ("Failed to create executor directory '/x': No such user 'nobody9'", "user"),
        ("Failed to launch container: Unexpected HTTP response '404 Not Found' for the manifest", "--image"),
        ("Failed to launch container: Failed to fetch all URIs for container 'x': exited with status 1", "--uri"),
        ("Command terminated with signal Killed", "memory"),
        ("Command exited with status 137", "memory"),
    ],
)  # fmt: skip
def test_what_mesos_ends_a_task_for_has_a_remedy(told: str, word: str) -> None:
    """By the message of the task's last update, or its reason."""
    assert word in remedy_of_task(told)


@pytest.mark.parametrize("told", ["Command exited with status 1", "Task is lost", "Executor terminated", ""])
def test_a_task_that_ended_for_an_unknown_reason_has_no_remedy(told: str) -> None:
    """What Mesos said stands for itself."""
    assert remedy_of_task(told) == ""
