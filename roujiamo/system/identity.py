"""Who a session is to the master: its principal, and the secret that proves it.

Layer 2; used by the programs that ask for a session (run, alloc, the one that starts a session for a bare mpiexec), in
the user's shell. The secret never stands in an argv, which everybody on the machine can read: it comes from a file, or
from a pipe (`--secret-file <(pass show mesos)`), or from ROUJIAMO_SECRET, which is taken out of the environment at
once, so that neither the user's program nor its ranks inherit it. From here it travels over sockets and pipes only.

A secret file holds the secret alone, or what Mesos's own `--credential` takes: {"principal": "P", "secret": "S"}.
"""

from __future__ import annotations

import json
import os
import select
import stat
import time
from collections.abc import MutableMapping

from roujiamo.errors import UsageError
from roujiamo.session.request import SessionRequest
from roujiamo.system.programs import SECRET_VARIABLE

MAX_SECRET_FILE = 65_536
# A pipe's writer may ask its user for a pass phrase first.
PIPE_SECONDS = 60.0


def with_identity(
    request: SessionRequest, secret_file: str | None, environment: MutableMapping[str, str]
) -> SessionRequest:
    """Return `request` with its secret, from `secret_file` or else from ROUJIAMO_SECRET, and with its principal.

    The variable is removed from `environment`. Raises UsageError, which never quotes a secret.
    """
    secret: str | None = environment.pop(SECRET_VARIABLE, "") or None
    principal = request.principal
    source = SECRET_VARIABLE
    if secret_file is not None:
        source = secret_file
        named, secret = _parse(_read(secret_file), secret_file)
        if principal is not None and named is not None and named != principal:
            raise UsageError(
                f"{secret_file}: it holds the secret of the principal {named!r}, not of {principal!r} (--principal)"
            )
        principal = principal or named
    if principal is not None and (":" in principal or not principal.isprintable() or not principal):
        raise UsageError(
            f"the principal {principal!r} cannot be sent: HTTP basic authentication allows it no colon and no"
            " control character"
        )
    if secret is not None and principal is None:
        raise UsageError(
            f"{source}: whose secret is it? Name the principal with --principal (ROUJIAMO_PRINCIPAL)"
        )
    return request._replace(principal=principal, secret=secret)


def _read(path: str) -> str:
    """Return what the file or pipe at `path` holds. Raises UsageError."""
    try:
        # Not to wait for the writer of a pipe here, where there is no deadline.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no path"
        raise UsageError(f"{path}: cannot read the secret: {reason}") from error
    try:
        _check_kind_and_mode(path, os.fstat(descriptor))
        content = _read_all(path, descriptor)
    finally:
        os.close(descriptor)
    try:
        return content.decode()
    except UnicodeDecodeError:
        # Without its context, which holds the secret.
        raise UsageError(f"{path}: this is no secret file: it is not UTF-8 text") from None


def _check_kind_and_mode(path: str, status: os.stat_result) -> None:
    """Refuse what ssh(1) refuses of a private key: our own file, and others can read it.

    A file of another's (root's, for a group of users) is theirs to open to the group, and never to all.
    """
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISFIFO(status.st_mode):
        raise UsageError(f"{path}: the secret must come from a file or a pipe")
    forbidden = 0o077 if status.st_uid == os.geteuid() else 0o007
    if stat.S_ISREG(status.st_mode) and status.st_mode & forbidden:
        raise UsageError(
            f"{path}: others may use this secret (mode {stat.S_IMODE(status.st_mode):04o}): chmod 600 {path}"
        )


def _read_all(path: str, descriptor: int) -> bytes:
    deadline = time.monotonic() + PIPE_SECONDS
    content = b""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while len(content) <= MAX_SECRET_FILE:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise UsageError(f"{path}: no secret came out of this pipe within {PIPE_SECONDS:g} s")
        try:
            piece = os.read(descriptor, MAX_SECRET_FILE + 1)
        except BlockingIOError:
            continue
        except OSError as error:
            raise UsageError(f"{path}: cannot read the secret: {error.strerror}") from error
        if not piece:
            return content
        content += piece
    raise UsageError(f"{path}: this is no secret file: it has more than {MAX_SECRET_FILE} bytes")


def _parse(text: str, path: str) -> tuple[str | None, str]:
    """Return the principal, where the file names one, and the secret. Raises UsageError."""
    principal = None
    if text.lstrip().startswith("{"):
        try:
            content = json.loads(text)
            secret, principal = content["secret"], content.get("principal")
        except (ValueError, KeyError, RecursionError):
            secret = None
        if not isinstance(secret, str) or not (principal is None or isinstance(principal, str)):
            example = '{"principal": "P", "secret": "S"}'
            raise UsageError(f"{path}: no Mesos credential; it should look like {example}") from None
    else:
        # Editors and echo end the line.
        secret = text[:-1] if text.endswith("\n") else text
        secret = secret[:-1] if secret.endswith("\r") else secret
        if "\n" in secret:
            raise UsageError(f"{path}: a secret is one line, and this file has more")
    if not secret:
        raise UsageError(f"{path}: there is no secret in it")
    return principal, secret
