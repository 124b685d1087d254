"""HTTP basic authentication of frameworks (RFC 7617), as `--authenticate_http_frameworks` asks for it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator

import pytest

from tests.conformance.conftest import Master
from tests.support.scheduler import PATH, Scheduler, authorization


@pytest.fixture
def locked(master: Master) -> Iterator[Master]:
    """A master that asks for credentials."""
    if master.credentials is None:
        pytest.skip(
            "the real Mesos named asks for no credentials (ROUJIAMO_TEST_PRINCIPAL, ROUJIAMO_TEST_SECRET)"
        )
    return master


@pytest.mark.parametrize("which", ["none", "wrong secret", "unknown principal", "no colon"])
def test_who_does_not_prove_who_he_is_gets_nowhere(locked: Master, which: str) -> None:
    wrong = {
        "none": None,
        "wrong secret": f"{locked.principal}:nope",
        "unknown principal": "nobody:nope",
        "no colon": "nobody",
    }[which]
    refused = Scheduler(locked.address, credentials=wrong)
    assert (refused.status, refused.refusal) == (401, b"401 Unauthorized.")


def test_the_refusal_names_its_scheme(locked: Master) -> None:
    host, _, port = locked.address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        connection.request("POST", PATH, "{}", {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert response.headers["WWW-Authenticate"] == 'Basic realm="mesos-master-scheduler"'
    finally:
        connection.close()


def test_a_framework_may_not_claim_anothers_principal(locked: Master) -> None:
    refused = Scheduler(locked.address, credentials=locked.credentials, principal="other")
    assert (refused.status, refused.refusal.decode()) == (
        400,
        (
            f"Failed to validate scheduler::Call: Authenticated principal '{locked.principal}' does not match "
            "principal 'other' set in `FrameworkInfo`"
        ),
    )


def test_every_call_must_prove_it_again(locked: Master) -> None:
    with locked.framework() as framework:
        call = json.dumps({"type": "REVIVE", "framework_id": framework.id})
        for wrong in (None, f"{locked.principal}:nope"):
            host, _, port = locked.address.rpartition(":")
            connection = http.client.HTTPConnection(host, int(port), timeout=10)
            try:
                headers = {
                    "Content-Type": "application/json",
                    "Mesos-Stream-Id": framework.stream_id,
                    **authorization(wrong),
                }
                connection.request("POST", PATH, call, headers)
                assert connection.getresponse().status == 401
            finally:
                connection.close()
        assert framework.call("REVIVE") == (202, b"")


def test_a_framework_without_a_principal_of_its_own_is_taken(locked: Master) -> None:
    framework = Scheduler(locked.address, credentials=locked.credentials)
    try:
        assert framework.offer()
        assert framework.call("TEARDOWN") == (202, b"")
    finally:
        framework.close()


@pytest.mark.parametrize(
    "path", ["/version", "/health", "/master/state", "/master/slaves", "/master/redirect"]
)
def test_what_stays_open_without_credentials(locked: Master, path: str) -> None:
    """--authenticate_http_frameworks is for frameworks alone."""
    host, _, port = locked.address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        connection.request("GET", path)
        assert connection.getresponse().status in (200, 307)
    finally:
        connection.close()
