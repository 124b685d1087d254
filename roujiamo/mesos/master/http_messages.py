"""An HTTP request and response as plain values, shared by the master's and the agents' endpoints.

Part of the local cluster; used by the pure answers and by the server that has the sockets.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

# More fields than any request has a use for.
MAX_FIELDS = 100

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
PROTOBUF = "application/x-protobuf"

REASONS = {
    200: "OK",
    202: "Accepted",
    307: "Temporary Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    413: "Payload Too Large",
    415: "Unsupported Media Type",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    505: "HTTP Version Not Supported",
}


@dataclass(frozen=True)
class Request:
    """One request: the path without its query, header names in lower case."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Response:
    """One response; where `stream_id` is set, no length is announced and a stream of events follows.

    A body too long to be kept whole comes in `parts`, with its length in the headers.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    stream_id: str | None = None
    parts: Iterator[bytes] | None = None


def parse_query(text: str) -> dict[str, str]:
    """The fields of a query or a form (application/x-www-form-urlencoded); the first of a name counts."""
    fields: dict[str, str] = {}
    for pair in text.split("&")[:MAX_FIELDS]:
        name, _, value = pair.partition("=")
        if name:
            fields.setdefault(_unescape(name.replace("+", " ")), _unescape(value.replace("+", " ")))
    return fields


def unescape_path(text: str) -> str:
    """A path without its percent escapes (RFC 3986 section 2.1)."""
    return _unescape(text)


def plain(status: int, text: str) -> Response:
    """A response with a sentence."""
    return Response(status, {"Content-Type": TEXT}, text.encode("utf-8", "replace"))


def not_found() -> Response:
    return plain(404, "404 Not Found.")


def method_not_allowed(method: str, allowed: str) -> Response:
    text = f"405 Method Not Allowed. Expecting one of {{ '{allowed}' }}, but received '{method}'."
    return Response(405, {"Allow": allowed, "Content-Type": TEXT}, text.encode("utf-8", "replace"))


def content_type_refusal(request: Request) -> Response | None:
    """The answer to a call that is not said to be JSON, or None."""
    content_type = request.headers.get("content-type")
    if content_type is None:
        return plain(400, "Expecting 'Content-Type' to be present")
    if content_type == PROTOBUF:
        return plain(415, "The local cluster speaks JSON only: expecting 'Content-Type' of application/json")
    if content_type != JSON:
        return plain(415, f"Expecting 'Content-Type' of {JSON} or {PROTOBUF}")
    return None


def accept_refusal(request: Request) -> Response | None:
    """The answer to a caller that does not take JSON (RFC 9110 section 12.5.1), or None."""
    accept = request.headers.get("accept")
    if accept is None:
        return None
    allowed = {one.split(";")[0].strip().lower() for one in accept.split(",")}
    if allowed & {JSON, "application/*", "*/*"}:
        return None
    return plain(406, f"Expecting 'Accept' to allow '{PROTOBUF}' or '{JSON}'")


def json_response(value: Any, query: dict[str, str] | None = None) -> Response:
    """A JSON response, or JSONP where the query asks for it."""
    body = compact(value)
    callback = (query or {}).get("jsonp")
    if callback is not None:
        return Response(200, {"Content-Type": "text/javascript"}, f"{callback}(".encode() + body + b")")
    return Response(200, {"Content-Type": "application/json"}, body)


def compact(value: Any) -> bytes:
    """JSON as Mesos writes it: no blanks, UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def _unescape(text: str) -> str:
    first, *rest = text.encode("utf-8", "replace").split(b"%")
    parts = [first]
    for part in rest:
        digits = part[:2]
        if len(digits) == 2 and all(digit in b"0123456789abcdefABCDEF" for digit in digits):
            parts.append(bytes((int(digits, 16),)) + part[2:])
        else:
            parts.append(b"%" + part)
    return b"".join(parts).decode("utf-8", "replace")
