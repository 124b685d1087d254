"""main() of `roujiamo-rsh`: read the command line, find the session, relay one remote command, say what failed.

Runs in the shim; the only module of it that prints. Trusts its user and the environment.
"""

import posix
import select
import sys

from roujiamo.errors import RemoteCommandError, RoujiamoError, SessionGone
from roujiamo.protocol.rsh import HELP, RUN, ArgumentError, Invocation, parse_arguments, show
from roujiamo.shim.launcher import find_launcher
from roujiamo.shim.relay import Relay
from roujiamo.shim.session import MASTER_VARIABLE, SOCKET_VARIABLE, connect, find_session, read_timeout
from roujiamo.shim.signals import SignalPipe, Stopped
from roujiamo.shim.streams import STDERR, STDOUT, fill_standard_descriptors

MYPY = False
if MYPY:
    from types import TracebackType

MARGIN_SECONDS = 15.0
# The failures' own status (ssh(1), EXIT STATUS).
FAILURE = RemoteCommandError.exit_status


def main(arguments: "list[str]") -> int:
    """Run `roujiamo-rsh` with the arguments behind its name; return its exit status."""
    sys.excepthook = _on_bug
    fill_standard_descriptors()
    try:
        invocation = parse_arguments([_to_bytes(argument) for argument in arguments])
    except ArgumentError as error:
        _say(str(error))
        return error.exit_status
    if invocation.action != RUN:
        return _answer(invocation.action)
    signals = SignalPipe()
    host = show(invocation.host)
    try:
        signals.catch()
        return _run(invocation, signals)
    except Stopped as stop:
        return stop.status
    except RemoteCommandError as error:
        # A launcher knows the host by an alias.
        host, sentence, status = error.host or host, str(error), error.exit_status
    except RoujiamoError as error:
        sentence, status = str(error), FAILURE
    except OSError as error:
        sentence = "a system call failed: %s; look at the limits (`ulimit -a`)" % (error.strerror or error)
        status = FAILURE
    # stderr may be stuck, and Ctrl-C must work there too.
    signals.release()
    _say("%s: %s" % (host, sentence))
    return status


def _run(invocation: Invocation, signals: SignalPipe) -> int:
    """Run the command in its session; return its exit status."""
    host = show(invocation.host)

    def note(sentence: str) -> None:
        # A note is not worth waiting for.
        if invocation.verbose and not invocation.quiet and _has_room(STDERR):
            _say("%s: %s" % (host, sentence))

    launcher = find_launcher()
    if launcher is not None:
        note("a launcher started this command, which ends with it")
        invocation.command = launcher.complete(invocation.command, posix.environ.get(b"ROUJIAMO_PREFIX", b""))
    for sentence in invocation.notes:
        note(sentence)
    environment = posix.environ
    timeout_seconds = read_timeout(environment)
    own = None
    if not environment.get(SOCKET_VARIABLE) and _may_have_its_own(environment):
        # Loads only where it is needed.
        try:
            from roujiamo.shim.election import LaunchersSession
        except ImportError:
            # In a task there is only what runs there.
            raise SessionGone(
                "no session was found: ROUJIAMO_SOCKET is not set, and none is started from inside a task"
            ) from None

        own = LaunchersSession(environment, invocation, launcher, signals, timeout_seconds, note)
        connection = own.connect()
        # The broker waits as long, and knows what for.
        timeout_seconds = own.timeout_seconds() + MARGIN_SECONDS
    else:
        connection = connect(find_session(environment), signals, timeout_seconds)
    note("asking the session for the host")
    relay = Relay(connection, invocation, signals, launcher, timeout_seconds, note)
    try:
        status = relay.run(environment.get(b"ROUJIAMO_TOKEN", b""))
    except SessionGone:
        if own is not None:
            own.sweep()
        raise
    note("the command ended with status %d" % status)
    return status


def _may_have_its_own(environment: "dict[bytes, bytes]") -> bool:
    """Whether a master is named, or may be in a configuration, which is not for the shim to read."""
    if environment.get(MASTER_VARIABLE):
        return True
    try:
        from roujiamo.system.configuration_files import is_any_there
    except ImportError:
        # In a task there is only what runs there.
        return False
    return is_any_there(environment)


def _answer(action: str) -> int:
    """Print what --help or --version ask for."""
    from roujiamo.shim.help import HELP_TEXT, VERSION_TEXT

    text = HELP_TEXT if action == HELP else VERSION_TEXT
    try:
        posix.write(STDOUT, text.encode())
    except OSError:
        return FAILURE
    return 0


def _say(sentence: str) -> None:
    """Print one sentence, in one write: many shims share one stderr."""
    try:
        posix.write(STDERR, ("roujiamo-rsh: %s\n" % _one_line(sentence)).encode("utf-8", "backslashreplace"))
    except OSError:
        # There is nobody left to tell; the exit status says it.
        pass


def _one_line(sentence: str) -> str:
    """Return the sentence without what could move a terminal's cursor: some of it came over the wire."""
    return "".join(character if character.isprintable() else " " for character in sentence[:2000])


def _has_room(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))


def _to_bytes(argument: str) -> bytes:
    """Return the argument as it was before the interpreter decoded it (os.fsencode, without os)."""
    return argument.encode(sys.getfilesystemencoding(), "surrogateescape")


def _on_bug(kind: "type[BaseException]", error: BaseException, trace: "TracebackType | None") -> None:
    """Print the traceback as Python does, but end with 255: Python's 1 would pass for the command's."""
    sys.__excepthook__(kind, error, trace)
    if sys.stderr is not None:
        sys.stderr.flush()
    posix._exit(FAILURE)
