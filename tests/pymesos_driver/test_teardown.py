"""TEARDOWN without pymesos: each way, and what counts as done."""

from __future__ import annotations

import pytest

from roujiamo.pymesos_driver.credential import Credential
from roujiamo.pymesos_driver.teardown import Teardown
from roujiamo.pymesos_driver.trouble import FAILED_OVER, MasterTrouble
from tests.pymesos_driver.scripted_master import (
    FRAMEWORK_ID,
    STREAM_ID,
    Request,
    Script,
    ScriptedMaster,
    subscribed,
)

FRAMEWORK = {"user": "u", "name": "n", "id": {"value": FRAMEWORK_ID}}


def stay(request: Request) -> None:
    """A good master."""
    request.begin_stream(subscribed())
    request.wait_for_close()


def removed(request: Request) -> None:
    """What Mesos says to the id of a framework that is over."""
    request.begin_stream({"type": "ERROR", "error": {"message": "Framework has been removed"}})
    request.end_stream()


def answer(status: str, body: str = "", **headers: str) -> Script:
    """Answer with this."""
    return lambda request: request.answer(status, body, **headers)


def tear_down(*masters: str, stream: tuple[str, str] | None = None, seconds: float = 20) -> None:
    """Run one teardown."""
    Teardown(FRAMEWORK, Credential("hpc", "s3cret"), None, lambda: list(masters), seconds).run(stream)


def test_a_live_stream_is_used_first() -> None:
    """One call, with the stream's id and the credentials."""
    with ScriptedMaster(stay) as master:
        tear_down(master.address, stream=(master.address, STREAM_ID))
        assert master.kinds() == ["TEARDOWN"]
        assert master.requests[0].headers["mesos-stream-id"] == STREAM_ID
        assert master.requests[0].headers["authorization"] == "Basic aHBjOnMzY3JldA=="


def test_without_a_stream_it_subscribes_with_the_id_first() -> None:
    """A restarted master, which has forgotten the framework, then ends its tasks when their agents come back."""
    with ScriptedMaster(stay) as master:
        tear_down(master.address)
        assert master.kinds() == ["SUBSCRIBE", "TEARDOWN"]
        assert master.requests[0].call["framework_id"] == {"value": FRAMEWORK_ID}
        assert master.requests[1].headers["mesos-stream-id"] == STREAM_ID


def test_a_redirect_leads_to_the_leader() -> None:
    """The last known master may have stopped leading."""
    with ScriptedMaster(stay) as leader:
        with ScriptedMaster(answer("307 Temporary Redirect", Location=f"//{leader.address}/x")) as follower:
            tear_down(follower.address)
        assert leader.kinds() == ["SUBSCRIBE", "TEARDOWN"]


@pytest.mark.parametrize(
    ("subscribe", "call"),
    [
        (removed, answer("500 Oops")),
        (stay, answer("400 Bad Request", "Framework cannot be found")),
        (answer("500 Oops"), answer("400 Bad Request", "No framework found with specified ID")),
    ],
)
def test_a_framework_that_is_gone_is_what_was_wanted(subscribe: Script, call: Script) -> None:
    """Somebody else was faster, or the failover timeout was."""
    with ScriptedMaster(subscribe, on_call=call) as master:
        tear_down(master.address)


def test_another_drivers_framework_is_left_alone() -> None:
    """The stream's id does not match any more: no other way is tried."""
    said = "The stream ID 'x' included in this request didn't match the stream ID currently associated"
    with ScriptedMaster(stay, on_call=answer("400 Bad Request", said)) as master:
        with pytest.raises(MasterTrouble) as caught:
            tear_down(master.address, stream=(master.address, "x"))
        assert caught.value.kind == FAILED_OVER
        assert master.kinds() == ["TEARDOWN"]


def redirect_to_nowhere(request: Request) -> None:
    """A Location that is none."""
    request.answer("307 Temporary Redirect", Location="[::1]:x")


def no_events(request: Request) -> None:
    """200 and HTML."""
    request.begin_stream()
    request.chunk(b"<html>")
    request.wait_for_close()


@pytest.mark.parametrize(
    "subscribe",
    [redirect_to_nowhere, no_events, answer("200 OK"), answer("307 Go", Location="//127.0.0.1:1")],
)
def test_when_the_time_is_up_it_says_why_not(subscribe: Script) -> None:
    """Every way was tried more than once if there was time; nothing else is raised."""
    with ScriptedMaster(subscribe, on_call=answer("403 Forbidden", "operators only")) as master:
        with pytest.raises(MasterTrouble, match="operators only"):
            tear_down(master.address, seconds=0.5)
        assert master.kinds()[:2] == ["SUBSCRIBE", "/master/teardown"]


def test_no_master_at_all_is_said() -> None:
    """The finder's own trouble."""

    def find() -> list[str]:
        raise MasterTrouble("unreachable", "nobody there")

    with pytest.raises(MasterTrouble, match="nobody there"):
        Teardown(FRAMEWORK, None, None, find, 0.1).run(None)


def test_the_last_master_is_asked_while_the_others_cannot_be_found() -> None:
    """ZooKeeper may be away while the master that it named is well."""

    def find() -> list[str]:
        raise MasterTrouble("unreachable", "no ZooKeeper")

    with ScriptedMaster(stay) as master:
        Teardown(FRAMEWORK, None, master.address, find, 20).run(None)
        assert master.kinds() == ["SUBSCRIBE", "TEARDOWN"]


@pytest.mark.parametrize(
    ("subscribe", "call", "may_be_ours"),
    [
        (removed, answer("500 Oops"), False),
        (stay, answer("400 Bad Request", "Framework cannot be found"), False),
        (stay, answer("202 Accepted"), True),
    ],
)
def test_whose_work_the_end_was_is_known(subscribe: Script, call: Script, may_be_ours: bool) -> None:
    """An operator's teardown, or a failover timeout, explains to the user why the tasks have ended."""
    with ScriptedMaster(subscribe, on_call=call) as master:
        teardown = Teardown(FRAMEWORK, None, master.address, list, 20)
        teardown.run(None)
        assert teardown.may_have_ended_it is may_be_ours
