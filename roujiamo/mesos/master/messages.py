"""JSON to the messages of the scheduler API, refused in the words that a master uses.

Part of the local master's state. The JSON comes from anyone who can reach the port, so nothing of it is used before
it went through `parse_call`. A message is described by the fields that a call can be refused for; others are kept as
they came, since a master ignores what it does not know.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

# protobuf's own limit on nesting: deeper JSON is nobody's call.
MAX_DEPTH = 100


class MalformedCall(ValueError):
    """The body is no call; the text is what the master answers with status 400."""


@dataclass(frozen=True)
class Field:
    """One field: its kind (string, number, bool, bytes, an enum's values, or a message's name)."""

    kind: str
    is_repeated: bool = False
    is_required: bool = False
    values: frozenset[str] | None = None


def _text(is_required: bool = False) -> Field:
    return Field("string", is_required=is_required)


def _many(kind: str) -> Field:
    return Field(kind, is_repeated=True)


def _one(kind: str, is_required: bool = False) -> Field:
    return Field(kind, is_required=is_required)


def _enum(values: str, is_required: bool = False) -> Field:
    return Field("enum", is_required=is_required, values=frozenset(values.split()))


CALL_TYPES = (
    "SUBSCRIBE TEARDOWN ACCEPT DECLINE ACCEPT_INVERSE_OFFERS DECLINE_INVERSE_OFFERS REVIVE KILL SHUTDOWN ACKNOWLEDGE "
    "ACKNOWLEDGE_OPERATION_STATUS RECONCILE RECONCILE_OPERATIONS MESSAGE REQUEST SUPPRESS UPDATE_FRAMEWORK"
)

# Of Mesos 1.11 (mesos/v1/master/master.proto).
OPERATOR_CALL_TYPES = (
    "GET_HEALTH GET_FLAGS GET_VERSION GET_METRICS GET_LOGGING_LEVEL SET_LOGGING_LEVEL LIST_FILES READ_FILE GET_STATE "
    "GET_AGENTS GET_FRAMEWORKS GET_EXECUTORS GET_OPERATIONS GET_TASKS GET_ROLES GET_WEIGHTS UPDATE_WEIGHTS GET_MASTER "
    "SUBSCRIBE RESERVE_RESOURCES UNRESERVE_RESOURCES CREATE_VOLUMES DESTROY_VOLUMES GROW_VOLUME SHRINK_VOLUME "
    "GET_MAINTENANCE_STATUS GET_MAINTENANCE_SCHEDULE UPDATE_MAINTENANCE_SCHEDULE START_MAINTENANCE STOP_MAINTENANCE "
    "DRAIN_AGENT DEACTIVATE_AGENT REACTIVATE_AGENT GET_QUOTA UPDATE_QUOTA SET_QUOTA REMOVE_QUOTA TEARDOWN "
    "MARK_AGENT_GONE"
)

_ID = {"value": _text(is_required=True)}
_SECONDS = {"nanoseconds": _one("number", is_required=True)}
_FILTERS = {"refuse_seconds": _one("number")}

# Field order is that of mesos/v1/*.proto: missing fields are listed in it.
SCHEMA: dict[str, dict[str, Field]] = {
    "Call": {
        "framework_id": _one("ID"),
        "type": _enum("UNKNOWN " + CALL_TYPES),
        "subscribe": _one("Subscribe"),
        "accept": _one("Accept"),
        "decline": _one("Decline"),
        "accept_inverse_offers": _one("InverseOffers"),
        "decline_inverse_offers": _one("InverseOffers"),
        "revive": _one("Roles"),
        "kill": _one("Kill"),
        "shutdown": _one("Shutdown"),
        "acknowledge": _one("Acknowledge"),
        "acknowledge_operation_status": _one("Object"),
        "reconcile": _one("Reconcile"),
        "reconcile_operations": _one("Object"),
        "message": _one("Message"),
        "request": _one("Object"),
        "suppress": _one("Roles"),
        "update_framework": _one("Subscribe"),
    },
    "MasterCall": {
        "type": _enum("UNKNOWN " + OPERATOR_CALL_TYPES),
        "update_maintenance_schedule": _one("ScheduleUpdate"),
        "mark_agent_gone": _one("GoneAgent"),
    },
    "ScheduleUpdate": {"schedule": _one("Schedule", is_required=True)},
    "GoneAgent": {"agent_id": _one("ID", is_required=True)},
    "Object": {},
    "ID": _ID,
    "Duration": _SECONDS,
    "Subscribe": {
        "framework_info": _one("FrameworkInfo", is_required=True),
        "suppressed_roles": _many("string"),
    },
    "FrameworkInfo": {
        "user": _text(is_required=True),
        "name": _text(is_required=True),
        "id": _one("ID"),
        "failover_timeout": _one("number"),
        "checkpoint": _one("bool"),
        "role": _text(),
        "roles": _many("string"),
        "hostname": _text(),
        "principal": _text(),
        "webui_url": _text(),
        "capabilities": _many("Capability"),
        "labels": _one("Labels"),
    },
    "Capability": {
        "type": _enum(
            "UNKNOWN REVOCABLE_RESOURCES TASK_KILLING_STATE GPU_RESOURCES SHARED_RESOURCES PARTITION_AWARE "
            "MULTI_ROLE RESERVATION_REFINEMENT REGION_AWARE"
        )
    },
    "Labels": {"labels": _many("Label")},
    "Label": {"key": _text(is_required=True), "value": _text()},
    "Accept": {
        "offer_ids": _many("ID"),
        "operations": _many("Operation"),
        "filters": _one("Filters"),
    },
    "Filters": _FILTERS,
    "Decline": {"offer_ids": _many("ID"), "filters": _one("Filters")},
    "InverseOffers": {"inverse_offer_ids": _many("ID"), "filters": _one("Filters")},
    "Roles": {"role": _text(), "roles": _many("string")},
    "Kill": {
        "task_id": _one("ID", is_required=True),
        "agent_id": _one("ID"),
        "kill_policy": _one("KillPolicy"),
    },
    "KillPolicy": {"grace_period": _one("Duration")},
    "Shutdown": {"executor_id": _one("ID", is_required=True), "agent_id": _one("ID", is_required=True)},
    "Acknowledge": {
        "agent_id": _one("ID", is_required=True),
        "task_id": _one("ID", is_required=True),
        "uuid": _one("bytes", is_required=True),
    },
    "Reconcile": {"tasks": _many("ReconcileTask")},
    "ReconcileTask": {"task_id": _one("ID", is_required=True), "agent_id": _one("ID")},
    "Message": {
        "agent_id": _one("ID", is_required=True),
        "executor_id": _one("ID", is_required=True),
        "data": _one("bytes", is_required=True),
    },
    "Operation": {
        "type": _enum(
            "UNKNOWN LAUNCH LAUNCH_GROUP RESERVE UNRESERVE CREATE DESTROY GROW_VOLUME SHRINK_VOLUME CREATE_DISK "
            "DESTROY_DISK"
        ),
        "launch": _one("Launch"),
        "launch_group": _one("LaunchGroup"),
    },
    "Launch": {"task_infos": _many("TaskInfo")},
    "LaunchGroup": {
        "executor": _one("ExecutorInfo", is_required=True),
        "task_group": _one("TaskGroup", is_required=True),
    },
    "TaskGroup": {"tasks": _many("TaskInfo")},
    "TaskInfo": {
        "name": _text(is_required=True),
        "task_id": _one("ID", is_required=True),
        "agent_id": _one("ID", is_required=True),
        "resources": _many("Resource"),
        "executor": _one("ExecutorInfo"),
        "command": _one("CommandInfo"),
        "container": _one("ContainerInfo"),
        "kill_policy": _one("KillPolicy"),
        "data": _one("bytes"),
        "labels": _one("Labels"),
        "max_completion_time": _one("Duration"),
    },
    "ExecutorInfo": {
        "executor_id": _one("ID", is_required=True),
        "command": _one("CommandInfo"),
        "resources": _many("Resource"),
    },
    "CommandInfo": {
        "uris": _many("URI"),
        "environment": _one("Environment"),
        "shell": _one("bool"),
        "value": _text(),
        "arguments": _many("string"),
        "user": _text(),
    },
    "URI": {
        "value": _text(is_required=True),
        "executable": _one("bool"),
        "extract": _one("bool"),
        "cache": _one("bool"),
        "output_file": _text(),
    },
    "Environment": {"variables": _many("Variable")},
    "Variable": {"name": _text(is_required=True), "type": _enum("UNKNOWN VALUE SECRET"), "value": _text()},
    "ContainerInfo": {"type": _enum("DOCKER MESOS", is_required=True), "mesos": _one("MesosInfo")},
    "MesosInfo": {"image": _one("Image")},
    "Image": {"type": _enum("APPC DOCKER", is_required=True)},
    "Resource": {
        "name": _text(is_required=True),
        "type": _enum("SCALAR RANGES SET TEXT", is_required=True),
        "scalar": _one("Scalar"),
        "ranges": _one("Ranges"),
        "set": _one("Set"),
        "role": _text(),
        "reservations": _many("Reservation"),
        "allocation_info": _one("AllocationInfo"),
    },
    "AllocationInfo": {"role": _text()},
    "Reservation": {"type": _enum("UNKNOWN STATIC DYNAMIC"), "role": _text()},
    "Scalar": {"value": _one("number", is_required=True)},
    "Ranges": {"range": _many("Range")},
    "Range": {"begin": _one("integer", is_required=True), "end": _one("integer", is_required=True)},
    "Set": {"item": _many("string")},
    "Schedule": {"windows": _many("Window")},
    "Window": {"machine_ids": _many("Machine"), "unavailability": _one("Unavailability", is_required=True)},
    "Machine": {"hostname": _text(), "ip": _text()},
    "Unavailability": {"start": _one("Duration", is_required=True), "duration": _one("Duration")},
}


def parse_call(body: bytes, name: str = "Call") -> dict[str, Any]:
    """Return the call in `body` (a framework's, or an operator's "MasterCall").

    Numbers are numbers then, and single values of repeated fields are lists. Raises MalformedCall with the master's
    own sentence.
    """
    value = parse_json(body)
    try:
        return parse_message(name, value)
    except MalformedCall as problem:
        raise MalformedCall(f"Failed to convert JSON into Call protobuf: {problem}") from None


def parse_message(name: str, value: Any) -> dict[str, Any]:
    """The same for JSON of another message; raises MalformedCall."""
    if not isinstance(value, dict):
        raise MalformedCall("Expecting a JSON object")
    message = _message(name, value, 0)
    missing = _missing(name, message, "")
    if missing:
        raise MalformedCall(f"Missing required fields: {', '.join(missing)}")
    return message


def parse_json(body: bytes) -> Any:
    """Return what JSON text stands for; MalformedCall names line and rest as the master's parser does."""
    text = body.decode("utf-8", "replace")
    problem = "Failed to parse body into JSON: "
    try:
        value, end = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode(
            text, len(text) - len(text.lstrip())
        )
    except json.JSONDecodeError as error:
        raise MalformedCall(f"{problem}syntax error at line {error.lineno} near: {_rest(error)}") from None
    except RecursionError:
        raise MalformedCall(f"{problem}syntax error at line 1 near: it is nested too deeply") from None
    except ValueError as error:
        # NaN and the like, which Python alone takes for JSON, and numbers of thousands of digits.
        raise MalformedCall(f"{problem}syntax error at line 1 near: {str(error)[:100]}") from None
    trailing = text[end:]
    if trailing.strip():
        raise MalformedCall(
            f"{problem}Parsed JSON included non-whitespace trailing characters: {trailing[:1000]}"
        )
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(name)


def _rest(error: json.JSONDecodeError) -> str:
    # An unfinished string is read to its end before it is found unfinished, so nothing is left then.
    if error.msg.startswith("Unterminated string"):
        return ""
    return error.doc[error.pos :].split("\n", 1)[0][:1000]


def _message(name: str, value: dict[str, Any], depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise MalformedCall("the message is nested too deeply")
    fields = SCHEMA[name]
    result: dict[str, Any] = {}
    # The master's JSON objects are ordered by key: of several errors it reports the first of these.
    for key in sorted(value):
        item = value[key]
        if item is None:
            continue
        field = fields.get(key)
        if field is None:
            result[key] = item
            continue
        if field.is_repeated:
            items = item if isinstance(item, list) else [item]
            if not isinstance(item, list | dict):
                raise MalformedCall(_unexpected(item, key))
            result[key] = [_single(field, key, one, depth) for one in items]
        else:
            converted = _single(field, key, item, depth)
            if converted is not None:
                result[key] = converted
    return result


def _single(field: Field, key: str, value: Any, depth: int) -> Any:
    kind = field.kind
    if kind == "string" and isinstance(value, str):
        # JSON can spell half a surrogate pair, which no file name, no environment and no UTF-8 can hold.
        return value.encode("utf-8", "replace").decode("utf-8")
    if kind == "enum" and isinstance(value, str):
        if field.values is not None and value in field.values:
            return value
        # Optional enums have a member for what a newer peer says; required ones have none.
        if field.is_required:
            raise MalformedCall(f"Failed to find enum for '{value}'")
        return None
    if kind == "bytes" and isinstance(value, str):
        return _base64(key, value)
    if kind == "bool":
        if isinstance(value, bool):
            return value
        if isinstance(value, str):
            if value in ("true", "false"):
                return value == "true"
            raise MalformedCall(_unparsable(value, "boolean", key))
    if kind in ("number", "integer"):
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _number(kind, value)
        if isinstance(value, str):
            try:
                return _number(kind, float(value))
            except ValueError:
                raise MalformedCall(_unparsable(value, "number", key)) from None
    if kind in SCHEMA and isinstance(value, dict):
        return _message(kind, value, depth + 1)
    raise MalformedCall(_unexpected(value, key))


def _number(kind: str, value: float) -> float:
    # Not more than any double or 64-bit integer holds; infinity comes from JSON numbers such as 1e999.
    number = max(-1.7e308, min(1.7e308, value))
    return int(max(-(2**63), min(2**63, number))) if kind == "integer" else number


def _unparsable(value: str, kind: str, key: str) -> str:
    return f"Failed to parse '{value}' as a JSON {kind} for field '{key}': syntax error at line 1 near: {value[:1000]}"


def _unexpected(value: Any, key: str) -> str:
    kinds = ((bool, "boolean"), (str, "string"), (list, "array"), (dict, "object"))
    kind = next((name for python, name in kinds if isinstance(value, python)), "number")
    return f"Not expecting a JSON {kind} for field '{key}'"


def _base64(key: str, value: str) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
    for character in value:
        if character not in alphabet:
            raise MalformedCall(
                f"Failed to base64 decode bytes field '{key}': Invalid character '{character}'"
            )
    return value


def decode_bytes(value: str) -> bytes:
    """The bytes of a `bytes` field; what is not whole base64 decodes to nothing."""
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _missing(name: str, message: dict[str, Any], path: str) -> list[str]:
    missing = []
    for key, field in SCHEMA[name].items():
        if key not in message:
            if field.is_required:
                missing.append(path + key)
        elif field.kind in SCHEMA:
            if field.is_repeated:
                for index, one in enumerate(message[key]):
                    missing += _missing(field.kind, one, f"{path}{key}[{index}].")
            else:
                missing += _missing(field.kind, message[key], f"{path}{key}.")
    return missing
