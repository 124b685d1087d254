"""HTTP basic authentication, as the masters and the agents of the local cluster ask for it.

Part of the local master's state. The caller is anyone who can reach the port, until its header proves a principal.
"""

from __future__ import annotations

import base64
import binascii
import hmac

from roujiamo.mesos.master.http_messages import TEXT, Request, Response

SCHEDULER = "mesos-master-scheduler"
MASTER_READ, MASTER_WRITE = "mesos-master-readonly", "mesos-master-readwrite"
AGENT_READ = "mesos-agent-readonly"


def refusal(request: Request, credentials: dict[str, str], realm: str) -> Response | None:
    """The answer to a request that does not prove one of the principals in `credentials`, or None."""
    if principal_of(request, credentials) is not None:
        return None
    headers = {"WWW-Authenticate": f'Basic realm="{realm}"', "Content-Type": TEXT}
    return Response(401, headers, b"401 Unauthorized.")


def principal_of(request: Request, credentials: dict[str, str]) -> str | None:
    """The principal that a request's Authorization header proves (RFC 7617), or None."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        principal, _, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    expected = credentials.get(principal)
    if expected is None or not hmac.compare_digest(expected.encode(), secret.encode()):
        return None
    return principal
