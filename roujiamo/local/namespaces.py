"""A hostname of its own for an agent and everything that it starts: a UTS namespace (uts_namespaces(7)); and, where
the user has made some, a network namespace (ip-netns(8)).

Runs in an agent process, before it has threads. As root the namespace is enough; an ordinary user needs a user
namespace around it, in which the uid and gid stay what they were, so that files and tasks look the same. Some systems
allow neither: then the hostname stays the machine's, and the caller says so.
"""

from __future__ import annotations

import ctypes
import os
import socket
from pathlib import Path

import psutil

from roujiamo.errors import LocalClusterError

_CLONE_NEWUTS = 0x04000000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000


def take_hostname(hostname: str) -> str | None:
    """Give this process and its children `hostname`; return None, or why the system does not allow it."""
    try:
        if os.geteuid() == 0:
            _unshare(_CLONE_NEWUTS)
        else:
            uid, gid = os.geteuid(), os.getegid()
            _unshare(_CLONE_NEWUSER | _CLONE_NEWUTS)
            # user_namespaces(7): an ordinary user may map its own ids alone, and the gid only without setgroups.
            Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
            Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
            Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")
        socket.sethostname(hostname)
    except OSError as error:
        return error.strerror or str(error)
    return None


def why_no_hostnames() -> str | None:
    """Return None where `take_hostname` works, or why not.

    Tried in a process of its own: one that gets its user namespace but not the rest of it is of no use afterwards.
    """
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            problem = take_hostname("roujiamo-probe")
            os.write(write_end, (problem or "").encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, encoding="utf-8") as answer:
        problem = answer.read()
    os.waitpid(pid, 0)
    return problem or None


def enter_network(name: str) -> str:
    """Move this process into the network namespace that `ip netns add NAME` made; return its first address there.

    Loopback's where it has no other. Raises LocalClusterError.
    """
    try:
        with open(Path("/run/netns") / name, "rb") as namespace:
            # os.setns came with Python 3.12.
            library = ctypes.CDLL(None, use_errno=True)
            if library.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
    except OSError as error:
        raise LocalClusterError(
            f"cannot enter the network namespace {name}: {error.strerror}; `ip netns list` shows those there are, and "
            "only root may enter them"
        ) from error
    addresses = [
        str(entry.address)
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family == socket.AF_INET
    ]
    return next((each for each in addresses if not each.startswith("127.")), "127.0.0.1")


def _unshare(flags: int) -> None:
    # os.unshare came with Python 3.12.
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
