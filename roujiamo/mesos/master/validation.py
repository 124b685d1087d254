"""What a call, a framework and a task must look like, and the sentences for those that do not.

Part of the local master's state. Each function returns the sentence of Mesos 1.11 for the first thing that is wrong,
or None. The order of the checks is the master's: with several errors a user sees the same one.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from roujiamo.mesos.master import quantities
from roujiamo.mesos.master.messages import decode_bytes
from roujiamo.mesos.master.quantities import Quantities

# NAME_MAX: ids become the names of folders.
MAX_ID = 255
# 2^63 nanoseconds: the longest duration that Mesos can hold.
MAX_SECONDS = 2**63 / 1e9

# The field that each type of call must have; the other types need none.
NEEDED_FIELDS = {
    "SUBSCRIBE": "subscribe",
    "ACCEPT": "accept",
    "DECLINE": "decline",
    "ACCEPT_INVERSE_OFFERS": "accept_inverse_offers",
    "DECLINE_INVERSE_OFFERS": "decline_inverse_offers",
    "KILL": "kill",
    "SHUTDOWN": "shutdown",
    "ACKNOWLEDGE": "acknowledge",
    "ACKNOWLEDGE_OPERATION_STATUS": "acknowledge_operation_status",
    "RECONCILE": "reconcile",
    "RECONCILE_OPERATIONS": "reconcile_operations",
    "MESSAGE": "message",
    "REQUEST": "request",
    "UPDATE_FRAMEWORK": "update_framework",
}


def call_problem(call: dict[str, Any], principal: str | None) -> str | None:
    """What is wrong with a call, before anybody looks whose it is."""
    kind = call.get("type")
    if kind is None:
        return "Expecting 'type' to be present"
    needed = NEEDED_FIELDS.get(kind)
    if kind == "SUBSCRIBE":
        if "subscribe" not in call:
            return "Expecting 'subscribe' to be present"
        info = call["subscribe"]["framework_info"]
        if call.get("framework_id", {}).get("value", "") != info.get("id", {}).get("value", ""):
            return "'framework_id' differs from 'subscribe.framework_info.id'"
        claimed = info.get("principal")
        if principal is not None and claimed is not None and claimed != principal:
            return f"Authenticated principal '{principal}' does not match principal '{claimed}' set in `FrameworkInfo`"
        return None
    if "framework_id" not in call:
        return "Expecting 'framework_id' to be present"
    if needed is not None and needed not in call:
        return f"Expecting '{needed}' to be present"
    if kind == "UPDATE_FRAMEWORK" and call["framework_id"] != call["update_framework"]["framework_info"].get(
        "id"
    ):
        return "'framework_id' differs from 'update_framework.framework_info.id'"
    if kind == "ACKNOWLEDGE" and not is_uuid(decode_bytes(call["acknowledge"]["uuid"])):
        return "Not a valid UUID"
    return None


def is_uuid(value: bytes) -> bool:
    """True for 16 bytes with one of the five versions in them (RFC 4122 section 4.1.3)."""
    return len(value) == 16 and 1 <= value[6] >> 4 <= 5


def framework_problem(info: dict[str, Any]) -> str | None:
    """What is wrong with a FrameworkInfo: the text of the ERROR event that answers SUBSCRIBE."""
    framework_id = info.get("id", {}).get("value", "")
    if framework_id and (problem := id_problem(framework_id)):
        return problem
    if "MULTI_ROLE" in capabilities_of(info):
        if "role" in info:
            return "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable"
        roles = info.get("roles", [])
        repeated = sorted({role for role in roles if roles.count(role) > 1})
        if repeated:
            return f"'FrameworkInfo.roles' contains duplicate items: {{ {', '.join(repeated)} }}"
        for role in roles:
            if problem := role_problem(role):
                return f"'FrameworkInfo.roles' contains invalid role: {problem}"
    else:
        if info.get("roles"):
            return "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable"
        if problem := role_problem(info.get("role", "*")):
            return f"'FrameworkInfo.role' is not a valid role: {problem}"
    timeout = info.get("failover_timeout", 0.0)
    if abs(timeout) > MAX_SECONDS:
        return f"The framework failover_timeout ({timeout:g}) is invalid"
    return None


def principal_change(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """What is wrong with a known framework's new FrameworkInfo, also where it subscribes again."""
    if old.get("principal", "") != new.get("principal", ""):
        return "Changing framework's principal is not allowed."
    return None


def update_problem(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """What is wrong with the FrameworkInfo of an UPDATE_FRAMEWORK."""
    if problem := framework_problem(new):
        return f"Supplied FrameworkInfo is not valid: {problem}"
    problem = principal_change(old, new)
    for field, otherwise in (("user", ""), ("checkpoint", False)):
        before, after = old.get(field, otherwise), new.get(field, otherwise)
        if problem is None and before != after:
            shown = [str(one).lower() if isinstance(one, bool) else one for one in (before, after)]
            problem = (
                f"Updating 'FrameworkInfo.{field}' is unsupported; attempted to update from '{shown[0]}' to "
                f"'{shown[1]}'"
            )
    return f"FrameworkInfo update is not valid: {problem}" if problem is not None else None


def capabilities_of(info: dict[str, Any]) -> frozenset[str]:
    """The names of a framework's capabilities."""
    return frozenset(one["type"] for one in info.get("capabilities", []) if "type" in one)


def roles_of(info: dict[str, Any]) -> tuple[str, ...]:
    """The roles in which a framework wants offers; a MULTI_ROLE framework without roles wants none."""
    if "MULTI_ROLE" in capabilities_of(info):
        return tuple(info.get("roles", []))
    return (info.get("role", "*"),)


def role_problem(role: str) -> str | None:
    """What is wrong with a role's name (docs/roles.md of Mesos, "Role names")."""
    if role == "*":
        return None
    if not role:
        return "Role names cannot be the empty string"
    if role.startswith("/"):
        return f"Role '{role}' cannot start with a slash"
    if role.endswith("/"):
        return f"Role '{role}' cannot end with a slash"
    if "//" in role:
        return f"Role '{role}' cannot contain two adjacent slashes"
    for component in role.split("/"):
        if component in (".", "..", "*"):
            return f"Role '{role}' cannot include '{component}' as a component"
        if component.startswith("-"):
            return f"Role component '{component}' is invalid because it starts with a dash"
        if any(character in "\b\t\n\v\f\r " for character in component):
            return f"Role component '{component}' is invalid because it contains backspace or whitespace"
    return None


def id_problem(value: str) -> str | None:
    """What is wrong with an id that a framework chose."""
    if not value:
        return "ID must not be empty"
    if len(value.encode("utf-8", "replace")) > MAX_ID:
        return f"ID must not be greater than {MAX_ID} characters"
    if value in (".", ".."):
        return f"'{value}' is disallowed"
    if any(ord(character) < 32 or ord(character) == 127 or character in "/\\" for character in value):
        return f"'{value}' contains invalid characters"
    return None


def operation_problem(infos: list[dict[str, Any]]) -> str | None:
    """What is wrong with a LAUNCH as a whole: one resource that means nothing spoils all of its tasks (recorded)."""
    for info in infos:
        for resource in info.get("resources", []):
            if problem := quantities.invalid_reason(resource):
                return problem
    return None


def task_problem(
    info: dict[str, Any], known_ids: Container[str], agent_id: str, available: Quantities, role: str
) -> str | None:
    """What is wrong with a TaskInfo that is to run on `agent_id` with what is left of the offers."""
    task_id = info["task_id"]["value"]
    named_agent = info["agent_id"]["value"]
    resources = info.get("resources", [])
    if problem := id_problem(task_id):
        return problem
    if task_id in known_ids:
        return f"Task has duplicate ID: {task_id}"
    if named_agent != agent_id:
        return f"Task uses invalid agent {named_agent} while agent {agent_id} is expected"
    if nanoseconds(info.get("kill_policy", {}).get("grace_period")) < 0:
        return "Task's 'kill_policy.grace_period' must be non-negative"
    if nanoseconds(info.get("max_completion_time")) < 0:
        return "Task's `max_completion_time` must be non-negative"
    if not resources:
        return "Task uses no resources"
    roles = sorted({one.get("allocation_info", {}).get("role", role) for one in resources})
    if len(roles) > 1:
        return (
            f"Invalid task resources: The resources have multiple allocation roles ('{roles[0]}' and '{roles[1]}') "
            "but only one allocation role is allowed"
        )
    if ("command" in info) == ("executor" in info):
        return "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present"
    needed = quantities.from_json(resources)
    if roles != [role] or not available.contains(needed):
        return (
            f"Total resources {needed.text(roles[0])} required by task and its executor is more than available "
            f"{available.in_offer_order().text(role)}"
        )
    return unsupported(info)


def unsupported(info: dict[str, Any]) -> str | None:
    """What a real cluster might run and this one cannot."""
    if "executor" in info:
        return "The local cluster runs command tasks only: give the task a CommandInfo instead of an ExecutorInfo"
    for field in ("health_check", "check"):
        if field in info:
            return f"The local cluster does no checks of tasks: leave `{field}` out"
    return None


def nanoseconds(duration: dict[str, Any] | None) -> float:
    """A DurationInfo's value; 0 where there is none."""
    return float(duration["nanoseconds"]) if duration else 0.0
