"""POST /api/v1: the calls of the v1 operator API that this master knows.

Part of the local master's state. The caller is anyone who can reach the port. Known are those by which clients see whom
they talk to, those for maintenance and for quota, and the one that gives an agent up for good; the read endpoints show
the rest.
"""

from __future__ import annotations

from typing import Any

from roujiamo.mesos.master import agents, frameworks, machines, maintenance, quota, views
from roujiamo.mesos.master.http_messages import (
    Request,
    Response,
    accept_refusal,
    content_type_refusal,
    json_response,
    method_not_allowed,
    plain,
)
from roujiamo.mesos.master.messages import MalformedCall, parse_call
from roujiamo.mesos.master.state import MasterState

# Calls that change something; the field of each has the call's name in lower case.
CHANGES = (
    "UPDATE_QUOTA",
    "UPDATE_MAINTENANCE_SCHEDULE",
    "START_MAINTENANCE",
    "STOP_MAINTENANCE",
    "MARK_AGENT_GONE",
)


def answer(state: MasterState, request: Request, now: float) -> Response:
    """Do one call."""
    if request.method != "POST":
        return method_not_allowed(request.method, "POST")
    refusal = content_type_refusal(request) or accept_refusal(request)
    if refusal is not None:
        return refusal
    try:
        call = parse_call(request.body, "MasterCall")
    except MalformedCall as problem:
        return plain(400, str(problem))
    kind = call.get("type")
    if kind is None or kind == "UNKNOWN":
        return plain(400, "Failed to validate master::Call: Expecting 'type' to be present")
    if kind in CHANGES:
        field = kind.lower()
        if field not in call:
            return plain(400, f"Failed to validate master::Call: Expecting '{field}' to be present")
        return _change(state, kind, call[field], now)
    shown = _show(state, kind)
    if shown is None:
        text = f"The local cluster does not know the operator call {kind}; use the read endpoints"
        return plain(501, text)
    return json_response({"type": kind, kind.lower(): shown})


def _change(state: MasterState, kind: str, content: dict[str, Any], now: float) -> Response:
    if kind == "MARK_AGENT_GONE":
        agent = state.agents.get(content["agent_id"]["value"])
        if agent is None:
            return plain(404, f"Agent '{content['agent_id']['value']}' not found")
        agents.mark_gone(state, agent, now)
        return Response(200)
    if kind == "UPDATE_QUOTA":
        problem = quota.update(state, content, now)
        if problem == quota.GUARANTEES:
            return plain(501, problem)
    elif kind == "START_MAINTENANCE":
        problem = machines.bring_down(state, content.get("machines", []), now)
    elif kind == "STOP_MAINTENANCE":
        problem = machines.bring_up(state, content.get("machines", []))
    else:
        schedule = content["schedule"]
        problem = maintenance.schedule_problem(schedule) or maintenance.down_problem(state, schedule)
        if problem is None:
            maintenance.update_schedule(state, schedule, now)
    return plain(400, problem) if problem is not None else Response(200)


def _show(state: MasterState, kind: str) -> dict[str, Any] | None:
    if kind == "GET_HEALTH":
        return {"healthy": True}
    if kind == "GET_VERSION":
        return {"version_info": views.BUILD}
    if kind == "GET_MASTER":
        started = {"start_time": state.started_at, "elected_time": state.started_at}
        return {"master_info": frameworks.master_info(state), **started}
    if kind == "GET_MAINTENANCE_SCHEDULE":
        return {"schedule": state.schedule}
    if kind == "GET_MAINTENANCE_STATUS":
        return {"status": maintenance.status(state)}
    if kind == "GET_QUOTA":
        return {"status": quota.as_json(state)}
    return None
