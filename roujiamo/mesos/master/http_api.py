"""The master's HTTP endpoints: one request in, one response out.

Part of the local master's state. The caller is anyone who can reach the port. Where the cluster has credentials, the
scheduler API wants HTTP basic authentication, as `--authenticate_http_frameworks` of a real master; the read endpoints
and the operator's stay open, as recorded, unless they are guarded too.
"""

from __future__ import annotations

from roujiamo.mesos.master import (
    authentication,
    frameworks,
    machines,
    maintenance,
    operator_calls,
    quota,
    scheduler_calls,
    views,
)
from roujiamo.mesos.master.http_messages import (
    Request,
    Response,
    json_response,
    method_not_allowed,
    not_found,
    parse_query,
    plain,
)
from roujiamo.mesos.master.messages import MalformedCall, parse_json
from roujiamo.mesos.master.state import MasterState

# What a master that does not lead answers itself.
ANSWERED_BY_ALL = frozenset(("/health", "/version", "/flags"))

# What --authenticate_http_readonly and --authenticate_http_readwrite of a real master guard (recorded).
READS = frozenset(("/state", "/state-summary", "/slaves", "/frameworks", "/tasks", "/roles", "/flags"))
WRITES = frozenset(
    (
        "/teardown",
        "/maintenance/schedule",
        "/maintenance/status",
        "/machine/down",
        "/machine/up",
        "/quota",
        "/weights",
    )
)


class HttpApi:
    """Answers the requests to one master.

    `credentials` maps principals to secrets; None means that all may call. `guards_all`: readers and operators have to
    prove a principal too, and not frameworks alone.
    """

    def __init__(
        self,
        state: MasterState,
        credentials: dict[str, str] | None,
        flags: dict[str, str],
        *,
        guards_all: bool = False,
    ) -> None:
        self._state = state
        self._credentials = credentials
        self._guarded = credentials if guards_all else None
        self._flags = flags
        # host:port of the master that leads, this one until it is told of another; None while nobody does.
        self.leader: str | None = state.authority

    def answer(self, request: Request, now: float) -> Response:
        """Do what `request` asks; never raises for what a client sent."""
        path = request.path.removeprefix("/master") if request.path.startswith("/master/") else request.path
        if path != "/":
            path = path.rstrip("/")
        leads = self.leader == self._state.authority
        if path == "/redirect" or (not leads and path not in ANSWERED_BY_ALL):
            return self._redirect(path, request)
        if path == "/api/v1/scheduler":
            return self._scheduler(request, now)
        if self._guarded is not None and (realm := _realm_of(path)):
            refusal = authentication.refusal(request, self._guarded, realm)
            if refusal is not None:
                return refusal
        if path == "/teardown":
            return self._teardown(request, now)
        if path == "/maintenance/schedule":
            return self._schedule(request, now)
        if path in ("/machine/down", "/machine/up"):
            return self._machines(path, request, now)
        if path.startswith("/api/v1"):
            return operator_calls.answer(self._state, request, now)
        return self._read(path, request)

    def _redirect(self, path: str, request: Request) -> Response:
        """What does not lead sends its callers on (Mesos's docs/scheduler-http-api.md, "Master detection")."""
        if self.leader is None:
            return plain(503, "No leader elected")
        return Response(307, {"Location": f"//{self.leader}{'' if path == '/redirect' else request.path}"})

    def _scheduler(self, request: Request, now: float) -> Response:
        principal = None
        if self._credentials is not None:
            principal = authentication.principal_of(request, self._credentials)
            refusal = authentication.refusal(request, self._credentials, authentication.SCHEDULER)
            if refusal is not None:
                return refusal
        return scheduler_calls.answer(self._state, request, principal, now)

    def _teardown(self, request: Request, now: float) -> Response:
        """The operator's POST /teardown with `frameworkId=ID` in its body."""
        if request.method != "POST":
            return method_not_allowed(request.method, "POST")
        fields = parse_query(request.body.decode("utf-8", "replace"))
        if "frameworkId" not in fields:
            return plain(400, "Missing 'frameworkId' query parameter in the request body")
        framework = self._state.frameworks.get(fields["frameworkId"])
        if framework is None:
            return plain(400, "No framework found with specified ID")
        frameworks.remove(self._state, framework, now)
        return Response(200)

    def _schedule(self, request: Request, now: float) -> Response:
        """The operator's maintenance schedule: GET shows it, POST replaces it."""
        if request.method == "GET":
            return json_response(self._state.schedule, request.query)
        if request.method != "POST":
            return method_not_allowed(request.method, "GET', 'POST")
        try:
            schedule = maintenance.parse_schedule(parse_json(request.body))
        except MalformedCall as problem:
            return plain(400, str(problem))
        down = maintenance.down_problem(self._state, schedule)
        if down is not None:
            return plain(400, down)
        maintenance.update_schedule(self._state, schedule, now)
        return Response(200)

    def _machines(self, path: str, request: Request, now: float) -> Response:
        """POST /machine/down and /machine/up."""
        if request.method != "POST":
            return method_not_allowed(request.method, "POST")
        try:
            named = machines.parse_machines(parse_json(request.body))
        except MalformedCall as problem:
            return plain(400, str(problem))
        if path == "/machine/down":
            refusal = machines.bring_down(self._state, named, now)
        else:
            refusal = machines.bring_up(self._state, named)
        return plain(400, refusal) if refusal is not None else Response(200)

    def _read(self, path: str, request: Request) -> Response:
        state, query = self._state, request.query
        if path == "/version":
            return json_response(views.BUILD, query)
        if path == "/health":
            return Response(200)
        if path == "/state":
            return json_response(views.whole_state(state, self._flags), query)
        if path == "/state-summary":
            return json_response(views.state_summary(state), query)
        if path == "/slaves":
            return json_response(views.agents(state, query.get("slave_id")), query)
        if path == "/frameworks":
            return json_response(views.all_frameworks(state, query.get("framework_id")), query)
        if path == "/tasks":
            return json_response(views.all_tasks(state, query), query)
        if path == "/roles":
            return json_response(views.roles(state), query)
        if path == "/flags":
            return json_response({"flags": self._flags}, query)
        if path == "/maintenance/status":
            return json_response(maintenance.status(state), query)
        if path == "/quota":
            return json_response(quota.as_json(state), query)
        if path == "/weights":
            return json_response([], query)
        if path.startswith("/files/"):
            # The master shares no files; its own log would be one.
            return plain(404, "")
        return not_found()


def _realm_of(path: str) -> str | None:
    """Whom a master asks before it answers there; None where it asks nobody."""
    if path in WRITES or path.startswith("/api/v1"):
        return authentication.MASTER_WRITE
    return authentication.MASTER_READ if path in READS else None
