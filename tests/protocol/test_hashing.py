"""Hashing: HMAC-SHA256 as RFC 4231 has it, in both of the ways that a Python may do it."""

import subprocess
import sys

from roujiamo.protocol.hashing import is_same, keyed_hash, mac
from tests.support.tools import ROOT

# Test cases 1 and 2.
CASES = [
    (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
]


def test_the_codes_are_those_of_the_standard() -> None:
    """In one call, and piece by piece from a copy; a key is good for any number of texts."""
    for key, text, expected in CASES:
        keyed = keyed_hash(key)
        for _ in range(2):
            assert mac(keyed, text[:3], text[3:]).hex() == expected
            copy = keyed.copy()
            copy.update(text[:5])
            copy.update(memoryview(text)[5:])
            assert copy.digest().hex() == expected


def test_a_python_without_openssl_has_the_same() -> None:
    """Some are built so; and before 3.9 OpenSSL's module has less."""
    program = (
        "import sys; sys.modules['_hashlib'] = None\n"
        "from tests.protocol import test_hashing as it\n"
        "it.test_the_codes_are_those_of_the_standard(); it.test_a_comparison_takes_views()\n"
        "assert 'hmac' in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_a_comparison_takes_views() -> None:
    """A tag is compared where it was received."""
    assert is_same(b"abc", memoryview(b"abc"))
    assert not is_same(memoryview(b"abd"), b"abc")
