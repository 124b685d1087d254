"""JSON to the messages of the two APIs (see `schema`), refused in the words that a master uses.

Part of the local master's state. The JSON comes from anyone who can reach the port, so nothing of it is used before
it went through `parse_call`.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from roujiamo.mesos.master.schema import SCHEMA, Field

# protobuf's own limit on nesting: deeper JSON is nobody's call.
MAX_DEPTH = 100


class MalformedCall(ValueError):
    """The body is no call; the text is what the master answers with status 400."""


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
        if field.is_map:
            if not isinstance(item, dict):
                raise MalformedCall(_unexpected(item, key))
            # Protobuf's JSON has a map as an object; the master's parser takes its values for fields called "value".
            result[key] = {name: _single(field, "value", one, depth) for name, one in sorted(item.items())}
        elif field.is_repeated:
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
            if field.is_map:
                for index, one in enumerate(message[key].values()):
                    missing += _missing(field.kind, one, f"{path}{key}[{index}].value.")
            elif field.is_repeated:
                for index, one in enumerate(message[key]):
                    missing += _missing(field.kind, one, f"{path}{key}[{index}].")
            else:
                missing += _missing(field.kind, message[key], f"{path}{key}.")
    return missing
