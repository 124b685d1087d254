"""The command line of an rsh agent, read as ssh reads its own.

Runs in the shim. MPI launchers call `AGENT [options] HOST COMMAND...` and expect ssh's rules (ssh(1), and main() of
OpenSSH's ssh.c): options may be bundled, their values attached or separate; they stand before HOST and also between
HOST and the command; `--` ends them for good; the words of the command are joined by single blanks, nothing quoted,
and the result is one string for the remote shell. Trusts its user, who may mistype: each mistake is one sentence.
"""

from roujiamo.errors import UsageError
from roujiamo.protocol.frames import MAX_COMMAND

RUN = "run"
HELP = "help"
SHOW_VERSION = "version"

# A DNS name has at most 253 bytes (RFC 1035 section 2.3.4); a numeric address with a zone has fewer.
MAX_HOST = 255

NO_TERMINAL = "no terminal is allocated"
NO_FORWARDING = "nothing is forwarded"
SESSION_USER = "the command runs as the session's user"
NO_MEANING = "it has no meaning here"

# ssh's options without a value (OpenSSH 9.9, ssh.c), and why one that promises something is passed over. Those of
# `_FLAGS_OBEYED` are not.
FLAGS = {
    b"1": NO_MEANING,
    b"2": NO_MEANING,
    b"4": NO_MEANING,
    b"6": NO_MEANING,
    b"A": NO_FORWARDING,
    b"C": NO_MEANING,
    b"K": NO_MEANING,
    b"M": NO_MEANING,
    b"T": NO_TERMINAL,
    b"X": NO_FORWARDING,
    b"Y": NO_FORWARDING,
    b"a": NO_FORWARDING,
    b"g": NO_FORWARDING,
    b"k": NO_MEANING,
    b"t": NO_TERMINAL,
    b"x": NO_FORWARDING,
    b"y": NO_MEANING,
}
_FLAGS_OBEYED = b"Vfnqv"

# ssh's options with a value.
VALUED = {
    b"B": NO_MEANING,
    b"D": NO_FORWARDING,
    b"E": NO_MEANING,
    b"F": NO_MEANING,
    b"I": NO_MEANING,
    b"J": NO_MEANING,
    b"L": NO_FORWARDING,
    b"P": NO_MEANING,
    b"R": NO_FORWARDING,
    b"S": NO_MEANING,
    b"b": NO_MEANING,
    b"c": NO_MEANING,
    b"e": NO_TERMINAL,
    b"i": NO_MEANING,
    b"l": SESSION_USER,
    b"m": NO_MEANING,
    b"o": NO_MEANING,
    b"p": NO_MEANING,
    b"w": NO_FORWARDING,
}

# With these ssh does something else than run a command: going on would be a lie.
REFUSED = {
    b"G": "print ssh's configuration",
    b"N": "run no command",
    b"O": "control an ssh master process",
    b"Q": "list ssh's algorithms",
    b"W": "forward a connection",
    b"s": "start an ssh subsystem",
}


class ArgumentError(UsageError):
    """The command line makes no remote command; 255, as every failure of the agent's own (ssh(1), EXIT STATUS)."""

    exit_status = 255


class Invocation:
    """What one command line asks for.

    `action`: RUN, HELP or SHOW_VERSION; `host` and `command` are set for RUN only. `no_stdin`: -n (or -f), stdin is
    empty. `background`: -f, go to the background once the command runs. `verbose` and `quiet` count -v and -q.
    `notes`: a sentence for each option that was passed over.
    """

    __slots__ = ("action", "background", "command", "host", "no_stdin", "notes", "quiet", "verbose")

    def __init__(self) -> None:
        self.action = RUN
        self.host = b""
        self.command = b""
        self.no_stdin = False
        self.background = False
        self.verbose = 0
        self.quiet = 0
        self.notes = []  # type: list[str]

    def on_flag(self, letter: bytes) -> None:
        """Take in one option without a value."""
        if letter == b"n":
            self.no_stdin = True
        elif letter == b"f":
            self.background = self.no_stdin = True
        elif letter == b"v":
            self.verbose += 1
        elif letter == b"q":
            self.quiet += 1
        elif letter == b"V":
            self.action = SHOW_VERSION
        else:
            self.notes.append("-%s is passed over: %s" % (letter.decode(), FLAGS[letter]))

    def on_valued(self, letter: bytes, value: bytes) -> None:
        """Take in one option with its value."""
        self.notes.append("-%s %s is passed over: %s" % (letter.decode(), show(value), VALUED[letter]))


def parse_arguments(arguments: "list[bytes]") -> Invocation:
    """Return what the command line (without the program's name) asks for.

    Raises ArgumentError, whose text is a sentence for the user.
    """
    invocation = Invocation()
    position, terminated = _skip_options(arguments, 0, invocation)
    if invocation.action != RUN:
        return invocation
    if position == len(arguments):
        raise ArgumentError("no host was named; try `roujiamo-rsh HOST COMMAND`, or --help")
    destination = arguments[position]
    position += 1
    if not terminated:
        position, _ = _skip_options(arguments, position, invocation)
        if invocation.action != RUN:
            return invocation
    invocation.host = parse_destination(destination, invocation.notes)
    invocation.command = b" ".join(arguments[position:])
    if not invocation.command:
        raise ArgumentError(
            "%s: no command was given, and there is no login shell here; try `roujiamo-rsh %s hostname`"
            % (show(invocation.host), show(invocation.host))
        )
    if len(invocation.command) > MAX_COMMAND:
        raise ArgumentError(
            "%s: the command has %d bytes, and one argument of a shell holds %d; put it into a file"
            % (show(invocation.host), len(invocation.command), MAX_COMMAND)
        )
    return invocation


def _skip_options(arguments: "list[bytes]", position: int, invocation: Invocation) -> "tuple[int, bool]":
    """Take in the options from `position` on; return where the operands start, and whether `--` ended the options."""
    while position < len(arguments):
        word = arguments[position]
        if word == b"--":
            return position + 1, True
        if word[:1] != b"-" or word == b"-":
            break
        position += 1
        if word in (b"--help", b"--version"):
            invocation.action = HELP if word == b"--help" else SHOW_VERSION
            break
        if word[:2] == b"--":
            raise ArgumentError("%s is not an option; --help lists them" % show(word))
        position = _take_bundle(word, arguments, position, invocation)
        if invocation.action != RUN:
            break
    return position, False


def _take_bundle(word: bytes, arguments: "list[bytes]", position: int, invocation: Invocation) -> int:
    """Take in `word`, one or more letters behind a dash; return the position behind the value it may have taken."""
    for index in range(1, len(word)):
        letter = word[index : index + 1]
        if letter in FLAGS or letter in _FLAGS_OBEYED:
            invocation.on_flag(letter)
        elif letter in VALUED:
            value = word[index + 1 :]
            if not value:
                if position == len(arguments):
                    raise ArgumentError("the option -%s needs a value" % letter.decode())
                value = arguments[position]
                position += 1
            invocation.on_valued(letter, value)
            break
        elif letter in REFUSED:
            raise ArgumentError(
                "-%s asks ssh to %s, which roujiamo-rsh does not do; leave it out"
                % (letter.decode(), REFUSED[letter])
            )
        else:
            raise ArgumentError("-%s is not an option of ssh's; --help lists them" % show(letter))
    return position


def parse_destination(destination: bytes, notes: "list[str]") -> bytes:
    """Return the host in `host`, `user@host` or `ssh://[user@]host[:port]`; what else it says goes to `notes`.

    A numeric IPv6 address may stand in brackets, and must in an ssh:// address with a port (RFC 3986 section 3.2.2).
    Raises ArgumentError.
    """
    if destination[:6].lower() == b"ssh://":
        user, at, host = destination[6:].rpartition(b"@")
        host = _strip_port(destination, host, notes)
    else:
        user, at, host = destination.rpartition(b"@")
    if at:
        if not user:
            raise ArgumentError("%s has no user before the @; leave the @ out" % show(destination))
        notes.append("the user %s is passed over: %s" % (show(user), SESSION_USER))
    if host[:1] == b"[" and host[-1:] == b"]":
        host = host[1:-1]
    if not host or host[:1] == b"-":
        raise ArgumentError("%s names no host; try `roujiamo-rsh HOST COMMAND`" % show(destination))
    if len(host) > MAX_HOST:
        raise ArgumentError("the host's name has %d bytes; %d are allowed" % (len(host), MAX_HOST))
    # Newer OpenSSH refuses more (valid_hostname()); these are the bytes that no name has and that garble a message.
    if any(byte <= 32 or byte == 127 for byte in host):
        raise ArgumentError("%s is not a host's name: it has a blank in it" % show(host))
    return host


def _strip_port(destination: bytes, host: bytes, notes: "list[str]") -> bytes:
    """Return the host of the `host[:port][/]` part of an ssh:// address."""
    host, _, path = host.partition(b"/")
    name, colon, port = host.rpartition(b":")
    if not colon or host[-1:] == b"]":
        name, port = host, b""
    if path or (b":" in name and name[:1] != b"["):
        raise ArgumentError("%s is not ssh://[user@]host[:port]" % show(destination))
    if port:
        if not port.isdigit() or len(port) > 5 or not 0 < int(port) < 65536:
            raise ArgumentError("%s has no valid port; leave it out" % show(destination))
        notes.append("the port %s is passed over: %s" % (port.decode(), NO_MEANING))
    return name


def show(text: bytes) -> str:
    """Return `text` for a message: as it is where it can be printed, escaped otherwise, and never long."""
    decoded = text[:100].decode("utf-8", "backslashreplace")
    if not decoded.isprintable():
        decoded = ascii(decoded)
    return decoded if len(text) <= 100 else decoded + "..."
