"""The messages of the scheduler API and of the operator API, as far as this master looks at them.

Part of the local master's state. A message is described by the fields that a call can be refused for (`messages` does
that); others are kept as they came, since a master ignores what it does not know. Names and order are those of
mesos/v1/*.proto: missing fields are listed in it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """One field: its kind (string, number, bool, bytes, an enum's values, or a message's name)."""

    kind: str
    is_repeated: bool = False
    is_required: bool = False
    values: frozenset[str] | None = None
    # An object whose keys are anything, and whose values are of this kind.
    is_map: bool = False


def _text(is_required: bool = False) -> Field:
    return Field("string", is_required=is_required)


def _many(kind: str) -> Field:
    return Field(kind, is_repeated=True)


def _map(kind: str) -> Field:
    return Field(kind, is_map=True)


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
        "start_maintenance": _one("Machines"),
        "stop_maintenance": _one("Machines"),
        "update_quota": _one("QuotaUpdate"),
        "mark_agent_gone": _one("GoneAgent"),
    },
    "ScheduleUpdate": {"schedule": _one("Schedule", is_required=True)},
    "GoneAgent": {"agent_id": _one("ID", is_required=True)},
    "QuotaUpdate": {"force": _one("bool"), "quota_configs": _many("QuotaConfig")},
    "QuotaConfig": {
        "role": _text(is_required=True),
        "guarantees": _map("Scalar"),
        "limits": _map("Scalar"),
    },
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
    "Machines": {"machines": _many("Machine")},
    "Machine": {"hostname": _text(), "ip": _text()},
    "Unavailability": {"start": _one("Duration", is_required=True), "duration": _one("Duration")},
}
