"""FrameworkInfo: who we are to the master.

Pure; used by the broker, which hands the dict to the driver. The values are the user's or the operator's: what the
master would refuse (its answer is often 200, then an ERROR event) is refused here with a sentence of ours.
"""

import re
from collections.abc import Iterable, Mapping

from roujiamo.errors import UsageError
from roujiamo.mesos.resources import JSON, UNRESERVED
from roujiamo.mesos.taskinfo import labels_of

# MULTI_ROLE for `roles`; PARTITION_AWARE for TASK_UNREACHABLE instead of a TASK_LOST that may be wrong;
# TASK_KILLING_STATE to see a kill on its way; RESERVATION_REFINEMENT for offers of refined reservations.
CAPABILITIES = ("MULTI_ROLE", "PARTITION_AWARE", "TASK_KILLING_STATE", "RESERVATION_REFINEMENT")

# Long enough for a change of leader (10 s with ZooKeeper, 75 s for the agents of a lone restarted master), short
# enough that a framework whose broker and driver were both killed does not stay in the operator's list.
FAILOVER_TIMEOUT_SECONDS = 60.0

_ROLE_CHARACTERS = re.compile(r"[^\s\x00-\x1f\x7f]+")


def framework_info(
    name: str,
    user: str,
    *,
    roles: Iterable[str] = (UNRESERVED,),
    principal: str | None = None,
    hostname: str | None = None,
    labels: Mapping[str, str] | None = None,
    wants_gpus: bool = False,
    framework_id: str | None = None,
    failover_timeout_seconds: float = FAILOVER_TIMEOUT_SECONDS,
) -> JSON:
    """Return the v1 FrameworkInfo.

    `framework_id` is given when subscribing again. There is no `webui_url`: we have no page to show. `checkpoint`
    lets the tasks live through a restart of the agent's process; `wants_gpus` brings offers of GPU agents too.
    """
    info: JSON = {
        "name": name,
        "user": user,
        "roles": [checked_role(role) for role in roles],
        "failover_timeout": failover_timeout_seconds,
        "checkpoint": True,
        "capabilities": [
            {"type": each} for each in (*CAPABILITIES, *(("GPU_RESOURCES",) if wants_gpus else ()))
        ],
    }
    if principal is not None:
        info["principal"] = principal
    if hostname is not None:
        info["hostname"] = hostname
    if labels:
        info["labels"] = labels_of(labels)
    if framework_id is not None:
        info["id"] = {"value": framework_id}
    return info


def parse_roles(text: str) -> tuple[str, ...]:
    """Return the roles in `text`, joined by commas. UsageError where the master would refuse one."""
    return tuple(dict.fromkeys(checked_role(role) for role in text.split(",")))


def checked_role(role: str) -> str:
    """Return `role`, or raise UsageError where the master would refuse it (docs/roles.md, "Invalid role names")."""
    if role == UNRESERVED:
        return role
    for part in role.split("/"):
        if part in ("", ".", "..", "*") or part.startswith("-") or not _ROLE_CHARACTERS.fullmatch(part):
            raise UsageError(
                f"{role!r} is not a role: a role is words joined by single slashes, without blanks and"
                " not starting with '-'; ask the cluster's operator for yours"
            )
    return role
