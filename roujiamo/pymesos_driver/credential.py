"""A principal and its secret, kept so that they cannot end up in a log by accident.

Runs in the driver. They come in on its stdin and go out in an Authorization header, and nowhere else.
"""

from binascii import b2a_base64


class Credential:
    """HTTP basic authentication (RFC 7617), as Mesos's default authenticator takes it."""

    __slots__ = ("_secret", "principal")

    def __init__(self, principal: str, secret: str) -> None:
        self.principal = principal
        self._secret = secret

    def __repr__(self) -> str:
        return f"Credential({self.principal!r}, ...)"

    def authorization(self) -> str:
        """The value of the Authorization header. pymesos's own takes ASCII only, and quotes the secret in its error."""
        pair = f"{self.principal}:{self._secret}".encode()
        return "Basic " + b2a_base64(pair, newline=False).decode("ascii")
