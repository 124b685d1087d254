"""What goes wrong with a master, in the words of the driver's `error` events. Pure.

Runs in the driver. A master's sentences are shown to the user as they are, shortened and without control characters;
they decide which kind of trouble it is, and whether trying again could help.
"""

from roujiamo.errors import MasterError

UNAUTHORIZED = "unauthorized"
FORBIDDEN = "forbidden"
PRINCIPAL = "principal"
REMOVED = "removed"
FAILED_OVER = "failed_over"
INVALID = "invalid"
UNREACHABLE = "unreachable"
NO_MASTER = "no_master"
PYMESOS_MISSING = "pymesos_missing"
INTERNAL = "internal"

# Kinds after which the framework is not ours (any more), so that there is nothing that we could tear down.
NOT_OURS = frozenset({REMOVED, FAILED_OVER})

MAX_QUOTED = 500


class MasterTrouble(MasterError):
    """Something is wrong with the master or with what we asked of it.

    `kind` is one of the constants above; `is_fatal` says that trying again cannot help; `must_resubscribe` that the
    master does not know this subscription (any more).
    """

    def __init__(
        self, kind: str, sentence: str, *, is_fatal: bool = False, must_resubscribe: bool = False
    ) -> None:
        super().__init__(sentence)
        self.kind = kind
        self.is_fatal = is_fatal
        self.must_resubscribe = must_resubscribe


class Redirected(MasterError):
    """This master does not lead; `location` (host:port) does."""

    def __init__(self, master: str, location: str) -> None:
        super().__init__(f"the master at {master} does not lead: {location} does")
        self.location = location


def quote(text: str) -> str:
    """A master's words in one printable line of bounded length."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 2 * MAX_QUOTED]).split())
    return line if len(line) <= MAX_QUOTED else line[:MAX_QUOTED] + " ..."


def subscribe_refused(master: str, status: int, body: str, principal: str | None = None) -> MasterTrouble:
    """What an answer other than 200 or a redirect to SUBSCRIBE means.

    `principal`: whose secret was sent; None where none was.
    """
    said = quote(body)
    if status == 401:
        sentence = (
            f"the master at {master} wants credentials (401 Unauthorized): give --principal and --secret-file"
            if principal is None
            else f"the master at {master} does not know the principal {principal!r} with this secret "
            "(401 Unauthorized): check --principal and --secret-file"
        )
        return MasterTrouble(UNAUTHORIZED, sentence, is_fatal=True)
    if status == 403:
        sentence = f"the master at {master} does not allow this framework (403 Forbidden): {said}"
        return MasterTrouble(FORBIDDEN, sentence, is_fatal=True)
    if status == 400 and "principal" in body:
        sentence = f"the master at {master} refused the framework's principal: {said}; check --principal"
        return MasterTrouble(PRINCIPAL, sentence, is_fatal=True)
    if status == 503:
        return MasterTrouble(
            NO_MASTER, f"the master at {master} is not leading yet (503): {said or 'no reason given'}"
        )
    if status >= 500:
        return MasterTrouble(
            UNREACHABLE, f"the master at {master} failed (HTTP {status}): {said or 'no reason given'}"
        )
    if status == 400:
        return MasterTrouble(INVALID, f"the master at {master} refused the framework: {said}", is_fatal=True)
    sentence = (
        f"what answers at {master} is not a Mesos master (HTTP {status} to SUBSCRIBE): check the address"
    )
    return MasterTrouble(INVALID, sentence, is_fatal=True)


def error_event(message: str) -> MasterTrouble:
    """What an ERROR event means: always the end of this subscription, and for Mesos of the framework."""
    if "has been removed" in message:
        return MasterTrouble(
            REMOVED,
            f"the master removed the framework ({quote(message)}): "
            "it was torn down, or was away for longer than its failover timeout",
            is_fatal=True,
        )
    if "failed over" in message:
        return MasterTrouble(
            FAILED_OVER, f"another driver took the framework over ({quote(message)})", is_fatal=True
        )
    if "ot authorized" in message:
        return MasterTrouble(
            FORBIDDEN,
            f"the master does not allow this framework: {quote(message)}; check --principal, --role and --user",
            is_fatal=True,
        )
    if "not present in the master's --roles" in message:
        sentence = (
            f"the master does not know this role ({quote(message)}): ask its operator for yours (--role)"
        )
        return MasterTrouble(FORBIDDEN, sentence, is_fatal=True)
    return MasterTrouble(INVALID, f"the master refused the framework: {quote(message)}", is_fatal=True)


def call_refused(call: str, master: str, status: int, body: str) -> MasterTrouble:
    """What an answer other than 2xx to a call on a subscription means."""
    said = quote(body)
    sentence = f"the master at {master} refused {call} (HTTP {status}): {said or 'no reason given'}"
    if status == 401:
        return MasterTrouble(UNAUTHORIZED, sentence, is_fatal=True)
    if "didn't match the stream ID" in body:
        return MasterTrouble(FAILED_OVER, sentence, is_fatal=True)
    if "Framework cannot be found" in body or "not subscribed" in body:
        return MasterTrouble(UNREACHABLE, sentence, must_resubscribe=True)
    if status == 403:
        return MasterTrouble(FORBIDDEN, sentence)
    if status in (307, 503):
        return MasterTrouble(NO_MASTER, sentence, must_resubscribe=True)
    return MasterTrouble(UNREACHABLE if status >= 500 else INVALID, sentence)
