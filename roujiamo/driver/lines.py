"""The JSON lines between broker and driver: what comes in, checked, and what goes out. Pure.

Runs in the driver. The first line is the configuration, each one after it a call:

    {"master": "HOST:PORT", "framework": {FrameworkInfo}, "principal": ..., "secret": ..., "limits": {optional}}
    (and "verbose": true, for a log where the command line says)
    {"call": "accept", "offer_ids": [...], "operations": [...], "refuse_seconds": 5.0}
    {"call": "decline", "offer_ids": [...], "refuse_seconds": 5.0}
    {"call": "revive"}  {"call": "suppress"}  {"call": "kill", "task_id": ..., "agent_id": ...}
    {"call": "reconcile", "tasks": [{"task_id": ..., "agent_id": ...}]}  {"call": "ping", "id": ...}
    {"call": "teardown"}

    {"call": "agents"}

Events go the other way: subscribed, offers, inverse_offers, rescind, update, failure, agents (with the roles),
disconnected, pong, error. An error that is the answer to a call names it in "call", and the offers that are lost with
it in "offer_ids".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from roujiamo.errors import UsageError
from roujiamo.pymesos_driver.credential import Credential
from roujiamo.pymesos_driver.master import Address, ZooKeeper, parse_master
from roujiamo.pymesos_driver.trouble import MasterTrouble

# An ACCEPT carries the TaskInfos of one agent: some kilobytes each.
MAX_LINE = 16 << 20

# Calls that still mean something on the next subscription; the others speak of offers, which end with this one.
LASTING_CALLS = frozenset({"revive", "suppress", "kill", "reconcile"})


class Limits(NamedTuple):
    """How long the driver waits for what, in seconds."""

    # From the connection to SUBSCRIBED: a master answers at once, or hangs.
    answer_seconds: float = 10.0
    # One scheduler call and its answer.
    call_seconds: float = 10.0
    # The longest pause between two tries to subscribe.
    retry_seconds: float = 5.0
    # From the wish to tear down to the exit.
    teardown_seconds: float = 10.0
    # So many heartbeats may fail to come before the connection counts as dead.
    missed_heartbeats: float = 3.0


class Configuration(NamedTuple):
    """The first line."""

    master: tuple[Address, ...] | ZooKeeper
    framework: Mapping[str, Any]
    credential: Credential | None = None
    limits: Limits = Limits()
    is_verbose: bool = False


class Request(NamedTuple):
    """A scheduler call that the broker asks for: its name there, its type and body in Mesos's v1 API."""

    name: str
    kind: str
    body: Mapping[str, Any] | None
    offer_ids: tuple[str, ...] = ()


def parse_configuration(line: bytes) -> Configuration:
    """Return what the first line says.

    Raises UsageError; its text quotes nothing of the line, which holds the secret.
    """
    content = _object(line, "the driver's first line")
    framework = content.get("framework")
    if not isinstance(framework, dict):
        raise UsageError("the driver's first line has no framework (a FrameworkInfo)")
    master = content.get("master")
    if not isinstance(master, str):
        raise UsageError("the driver's first line has no master")
    principal, secret = content.get("principal"), content.get("secret")
    if not all(value is None or isinstance(value, str) for value in (principal, secret)):
        raise UsageError("the driver's first line has a principal or a secret that is not text")
    if principal is None and secret is not None:
        raise UsageError("a secret needs a principal")
    credential = None if principal is None or secret is None else Credential(principal, secret)
    limits = _limits(content.get("limits") or {})
    return Configuration(parse_master(master), framework, credential, limits, bool(content.get("verbose")))


def parse_call(line: bytes) -> dict[str, Any]:
    """Return a later line as it is; its "call" is text.

    Raises UsageError where it is no call.
    """
    content = _object(line, "a call")
    if not isinstance(content.get("call"), str):
        raise UsageError("a line without a call")
    return content


def to_request(content: Mapping[str, Any]) -> Request:
    """Return the scheduler call for a line that `parse_call` gave.

    Raises UsageError where the call is unknown or lacks something.
    """
    name = content["call"]
    try:
        match name:
            case "accept" | "decline":
                offer_ids = tuple(_text(offer_id) for offer_id in content["offer_ids"])
                body: dict[str, Any] = {"offer_ids": [{"value": offer_id} for offer_id in offer_ids]}
                if name == "accept":
                    body["operations"] = list(content["operations"])
                if content.get("refuse_seconds") is not None:
                    body["filters"] = {"refuse_seconds": float(content["refuse_seconds"])}
                return Request(name, name.upper(), body, offer_ids)
            case "agents":
                return Request(name, "GET /slaves", None)
            case "revive" | "suppress":
                return Request(name, name.upper(), None)
            case "kill":
                return Request(name, "KILL", _task(content))
            case "reconcile":
                return Request(name, "RECONCILE", {"tasks": [_task(task) for task in content["tasks"]]})
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"the call {name!r} cannot be understood: {type(error).__name__} {error}") from error
    raise UsageError(f"there is no call {name!r}")


def error_line(trouble: MasterTrouble, *, is_fatal: bool, request: Request | None = None) -> dict[str, Any]:
    """The event for `trouble`."""
    event = {"event": "error", "kind": trouble.kind, "message": str(trouble), "fatal": is_fatal}
    if request is not None:
        event["call"] = request.name
        if request.offer_ids:
            event["offer_ids"] = list(request.offer_ids)
    return event


def subscribed_line(info: Mapping[str, Any], address: str, *, is_again: bool) -> dict[str, Any]:
    """The event for SUBSCRIBED; `address` is where we connected, the rest what the master says of itself."""
    master = info.get("master_info") or {}
    said = master.get("address") or {}
    return {
        "event": "subscribed",
        "framework_id": info["framework_id"]["value"],
        "master": {
            "hostname": said.get("hostname") or master.get("hostname") or address.rpartition(":")[0],
            "address": address,
            "version": master.get("version") or "",
        },
        "again": is_again,
    }


def encode_line(event: Mapping[str, Any]) -> bytes:
    """An event as it is written."""
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


def _object(line: bytes, what: str) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        # Without the error's context: it holds the line.
        raise UsageError(f"{what} is not a JSON object") from None
    return content


def _limits(content: Any) -> Limits:
    names = set(Limits._fields)
    if not isinstance(content, dict) or not names >= content.keys():
        raise UsageError(f"the driver's limits are: {', '.join(sorted(names))}")
    if not all(isinstance(value, (int, float)) and value > 0 for value in content.values()):
        raise UsageError("the driver's limits are positive numbers")
    return Limits(**content)


def _task(content: Mapping[str, Any]) -> dict[str, Any]:
    task = {"task_id": {"value": _text(content["task_id"])}}
    # pymesos drops the agent's id; a master that has forgotten the task needs it to ask there.
    if content.get("agent_id"):
        task["agent_id"] = {"value": _text(content["agent_id"])}
    return task


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("an id is text")
    return value
