"""What a master says, and what the driver makes of it. The sentences are a real Mesos 1.11's."""

import pytest

from roujiamo.pymesos_driver import trouble
from roujiamo.pymesos_driver.credential import Credential

MISMATCH = (
    "Failed to validate scheduler::Call: Authenticated principal 'labp' does not match principal 'other' "
    "set in `FrameworkInfo`"
)
OTHER_STREAM = (
    "The stream ID 'garbage' included in this request didn't match the stream ID currently associated with "
    "framework ID d3e9fa24-843d-4c23-b9dc-0fbe75b56022-0005"
)
ROLES = "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable"


@pytest.mark.parametrize(
    ("status", "body", "kind", "is_fatal"),
    [
        (401, "401 Unauthorized.", "unauthorized", True),
        (403, "Not allowed", "forbidden", True),
        (400, MISMATCH, "principal", True),
        (400, "Failed to convert JSON into Call protobuf: Missing required fields", "invalid", True),
        (404, "404 Not Found.", "invalid", True),
        (503, "No leader elected", "no_master", False),
        (500, "", "unreachable", False),
        (502, "Bad gateway", "unreachable", False),
    ],
)
def test_a_refused_subscribe_has_a_kind(status: int, body: str, kind: str, is_fatal: bool) -> None:
    """Fatal is what no second try can mend."""
    found = trouble.subscribe_refused("m:1", status, body)
    assert (found.kind, found.is_fatal) == (kind, is_fatal)
    assert "m:1" in str(found)


def test_a_401_says_whether_credentials_were_sent() -> None:
    """Forgotten options and a wrong secret are mended in different ways."""
    assert "give --principal and --secret-file" in str(trouble.subscribe_refused("m:1", 401, ""))
    assert "the principal 'hpc' with this secret" in str(trouble.subscribe_refused("m:1", 401, "", "hpc"))


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Framework has been removed", "removed"),
        ("Framework failed over", "failed_over"),
        (ROLES, "invalid"),
        ("The framework failover_timeout (1e+30) is invalid", "invalid"),
        ("Not authorized to use roles '[hpc]'", "forbidden"),
        ("Roles { nobody } are not present in the master's --roles", "forbidden"),
    ],
)
def test_an_error_event_is_always_the_end(message: str, kind: str) -> None:
    """pymesos would reconnect, thousands of times a second."""
    found = trouble.error_event(message)
    assert (found.kind, found.is_fatal) == (kind, True)
    assert message in str(found)


@pytest.mark.parametrize(
    ("status", "body", "kind", "is_fatal", "must_resubscribe"),
    [
        (401, "401 Unauthorized.", "unauthorized", True, False),
        (400, OTHER_STREAM, "failed_over", True, False),
        (400, "Framework cannot be found", "unreachable", False, True),
        (403, "Framework is not subscribed", "unreachable", False, True),
        (403, "Not allowed", "forbidden", False, False),
        (400, "Failed to validate scheduler::Call: Not a valid UUID", "invalid", False, False),
        (307, "", "no_master", False, True),
        (503, "", "no_master", False, True),
        (500, "", "unreachable", False, False),
    ],
)
def test_a_refused_call_may_end_the_call_the_subscription_or_all(
    status: int, body: str, kind: str, is_fatal: bool, must_resubscribe: bool
) -> None:
    """A call that is wrong is the broker's to mend; one from a framework that is not known any more is ours."""
    found = trouble.call_refused("REVIVE", "m:1", status, body)
    assert (found.kind, found.is_fatal, found.must_resubscribe) == (kind, is_fatal, must_resubscribe)


def test_a_masters_words_are_one_printable_line_of_bounded_length() -> None:
    """They end up on a terminal."""
    assert trouble.quote("a\n b\x1b[31m\tc") == "a b [31m c"
    assert len(trouble.quote("x" * 100_000)) < 600


def test_a_secret_is_not_in_a_credentials_text() -> None:
    """Not even in the error of one that is not ASCII, for which pymesos raises with the secret in hand."""
    credential = Credential("hpc", "s\u00e9cret")
    assert "cret" not in f"{credential} {credential!r}"
    assert credential.authorization() == "Basic aHBjOnPDqWNyZXQ="
