"""POST /api/v1/scheduler: a framework's calls, checked in the order in which a real master checks them.

Part of the local master's state. The caller is anyone who can reach the port; where the cluster has credentials, the
HTTP front has verified them and `principal` says whose they are.
"""

from __future__ import annotations

from typing import Any

from roujiamo.mesos.master import accepting, frameworks, maintenance, tasks
from roujiamo.mesos.master.http_messages import (
    JSON,
    Request,
    Response,
    accept_refusal,
    content_type_refusal,
    method_not_allowed,
    plain,
)
from roujiamo.mesos.master.messages import MalformedCall, parse_call
from roujiamo.mesos.master.state import ACTIVE, Framework, MasterState, ToAgent
from roujiamo.mesos.master.validation import call_problem

STREAM_HEADER = "mesos-stream-id"


def answer(state: MasterState, request: Request, principal: str | None, now: float) -> Response:
    """Do one call. The response to SUBSCRIBE carries the id of the stream that begins with it."""
    if request.method != "POST":
        return method_not_allowed(request.method, "POST")
    refusal = content_type_refusal(request)
    if refusal is not None:
        return refusal
    try:
        call = parse_call(request.body)
    except MalformedCall as problem:
        return plain(400, str(problem))
    problem_text = call_problem(call, principal)
    if problem_text is not None:
        return plain(400, f"Failed to validate scheduler::Call: {problem_text}")
    refusal = accept_refusal(request)
    if refusal is not None:
        return refusal
    if call["type"] == "SUBSCRIBE":
        if STREAM_HEADER in request.headers:
            return plain(400, "Subscribe calls should not include the 'Mesos-Stream-Id' header")
        stream_id = frameworks.subscribe(state, call["subscribe"], principal, now)
        headers = {"Mesos-Stream-Id": stream_id, "Content-Type": JSON}
        return Response(200, headers, b"", stream_id)
    return _answer_subscribed(state, call, request, principal, now)


def _answer_subscribed(
    state: MasterState, call: dict[str, Any], request: Request, principal: str | None, now: float
) -> Response:
    framework_id = call["framework_id"]["value"]
    framework = state.frameworks.get(framework_id)
    if framework is None:
        return plain(400, "Framework cannot be found")
    if principal is not None and framework.principal != principal:
        owner = framework.principal or ""
        text = (
            f"Authenticated principal '{principal}' does not match principal '{owner}' set in `FrameworkInfo`"
        )
        return plain(400, text)
    if not framework.is_connected:
        return plain(403, "Framework is not subscribed")
    stream_id = request.headers.get(STREAM_HEADER)
    if stream_id is None:
        return plain(400, "All non-subscribe calls should include the 'Mesos-Stream-Id' header")
    if stream_id != framework.stream_id:
        text = (
            f"The stream ID '{stream_id}' included in this request didn't match the stream ID currently associated "
            f"with framework ID {framework_id}"
        )
        return plain(400, text)
    if call["type"] == "UPDATE_FRAMEWORK":
        problem = frameworks.update_framework(state, framework, call["update_framework"], now)
        return plain(400, problem) if problem is not None else Response(200)
    _dispatch(state, framework, call, now)
    return Response(202)


def _dispatch(state: MasterState, framework: Framework, call: dict[str, Any], now: float) -> None:
    kind = call["type"]
    if kind == "ACCEPT":
        accepting.accept(state, framework, call["accept"], now)
    elif kind == "DECLINE":
        accepting.decline(state, framework, call["decline"], now)
    elif kind == "REVIVE":
        frameworks.revive(state, framework, call.get("revive", {}), now)
    elif kind == "SUPPRESS":
        frameworks.suppress(framework, call.get("suppress", {}))
    elif kind == "KILL":
        tasks.kill(state, framework, call["kill"], now)
    elif kind == "ACKNOWLEDGE":
        tasks.acknowledge(state, framework, call["acknowledge"], now)
    elif kind == "RECONCILE":
        named = call["reconcile"].get("tasks", [])
        if not named:
            tasks.reconcile_all(state, framework, now)
        for one in named:
            tasks.reconcile(
                state, framework, one["task_id"]["value"], one.get("agent_id", {}).get("value"), now
            )
    elif kind == "TEARDOWN":
        frameworks.remove(state, framework, now)
    elif kind == "SHUTDOWN":
        _shutdown(state, framework, call["shutdown"])
    elif kind in ("ACCEPT_INVERSE_OFFERS", "DECLINE_INVERSE_OFFERS"):
        maintenance.answer(state, framework, kind.partition("_")[0], call[kind.lower()], now)
    # The others are accepted and do nothing here: MESSAGE (a command task's executor takes none), REQUEST (neither
    # does Mesos), operations (this cluster has none).


def _shutdown(state: MasterState, framework: Framework, call: dict[str, Any]) -> None:
    """SHUTDOWN of an executor: a command task's executor has the task's id."""
    task = framework.tasks.get(call["executor_id"]["value"])
    agent = state.agents.get(call["agent_id"]["value"])
    if task is not None and agent is not None and agent.standing == ACTIVE and task.agent_id == agent.id:
        message = {"type": "kill", "framework_id": framework.id, "task_id": task.id}
        state.act(ToAgent(agent.id, message))
