"""SHA-256 and the HMAC over it, for handshake and link.

Runs in broker and proxy. Pure. OpenSSL's, straight from the C module that `hashlib` and `hmac` are made of: those take
4 ms of CPU to load, at each host's start, and half a microsecond more for each batch. Where that module has less
(before Python 3.9, or where Python is built without OpenSSL) they do it.
"""

MYPY = False
if MYPY:
    from typing import Protocol

    class Hash(Protocol):
        """A hash under way."""

        def copy(self) -> "Hash":
            """Return another that goes on from here."""

        def update(self, data: "bytes | bytearray | memoryview") -> None:
            """Take more."""

        def digest(self) -> bytes:
            """Return the hash of what it took."""


try:
    from _hashlib import compare_digest, hmac_new

    _SHA256 = "sha256"
except ImportError:
    import hashlib
    import hmac

    compare_digest = hmac.compare_digest
    hmac_new = hmac.new  # type: ignore[assignment]
    _SHA256 = hashlib.sha256  # type: ignore[assignment]


def keyed_hash(key: bytes) -> "Hash":
    """Return an HMAC-SHA256 that has taken nothing yet, to be copied for each text."""
    return hmac_new(key, b"", _SHA256)


def mac(keyed: "Hash", *parts: bytes) -> bytes:
    """Return HMAC-SHA256 of the parts in a row, 32 bytes; `keyed` has taken nothing yet.

    That a key is prepared once spares half of what a text costs, and even for a single one it is less than hmac.digest.
    """
    taken = keyed.copy()
    taken.update(b"".join(parts))
    return taken.digest()


def is_same(one: "bytes | memoryview", other: "bytes | memoryview") -> bool:
    """Compare in a time that tells nothing about where they differ."""
    return compare_digest(one, other)
