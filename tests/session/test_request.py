"""The request for a session survives its way to the broker, and shows no secret."""

import pytest

from roujiamo.errors import UsageError
from roujiamo.session.request import SessionRequest

REQUEST = SessionRequest(
    master="m1:5050",
    name="job",
    user="ada",
    folder="/run/x",
    owner_pid=7,
    secret="s3cret",
    nodes=2,
    processes=5,
    uris=("file:///a",),
    environment={"LICENSE_KEY": "hidden"},
    callback_ports=(7000, 7010),
)


def test_a_request_comes_back_as_it_was() -> None:
    """One line of JSON carries all of it."""
    line = REQUEST.to_json()
    assert "\n" not in line
    assert SessionRequest.from_json(line) == REQUEST


def test_its_text_form_hides_the_secret_and_the_users_environment() -> None:
    """It may stand in a log or a traceback."""
    assert "s3cret" not in repr(REQUEST)
    assert "hidden" not in repr(REQUEST)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"surprise": 1}', "not json"])
def test_anything_else_is_a_usage_error(text: str) -> None:
    """A broker that is started by hand says so in a sentence."""
    with pytest.raises(UsageError, match="session request"):
        SessionRequest.from_json(text)
