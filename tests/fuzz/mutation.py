"""Changes real inputs at random, from a seed: bytes, the cuts of a stream, JSON.

Imported by the fuzz targets. All randomness is the `random.Random` that the caller gives, so a case comes back from its
seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

# Lengths and counts at which parsers have their limits, as one or four bytes and as text.
EDGES = (
    b"\0",
    b"\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff",
    b"\r\n",
    b"\n",
    b"0",
    b"-1",
    b"9" * 20,
    b"%",
    b":",
)
NUMBERS = (0, 1, -1, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63), 0.5, -0.0, 1e308, 1e-300)
TEXTS = ("", "*", ".", "..", "/", "a" * 300, "\0", "\n", "\u00e9", "\ud800", "1", "true", "%s", "__class__")
DEEP = 120


def mutated(chance: random.Random, data: bytes, corpus: list[bytes]) -> bytes:
    """`data` with one to five changes; as it is in one of eight cases."""
    if chance.randrange(8) == 0:
        return data
    changed = bytearray(data)
    for _ in range(chance.randint(1, 5)):
        start = chance.randint(0, len(changed))
        end = min(len(changed), start + chance.choice((1, 1, 2, 4, 16, 200)))
        what = chance.randrange(7)
        if what == 0 and changed:
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        elif what == 1:
            del changed[start:end]
        elif what == 2:
            changed[start:start] = changed[start:end] * chance.choice((1, 2, 50))
        elif what == 3:
            changed[start:end] = chance.choice(EDGES)
        elif what == 4:
            changed[start:end] = chance.randbytes(end - start)
        elif what == 5:
            other = chance.choice(corpus)
            cut = chance.randint(0, len(other))
            changed[start:] = other[cut:]
        else:
            del changed[start:]
    return bytes(changed)


def pieces(chance: random.Random, data: bytes) -> Iterator[bytes]:
    """`data` cut as TCP may cut it: into single bytes, or at random places."""
    longest = chance.choice((1, 1, 7, 100))
    start = 0
    while start < len(data):
        size = chance.randint(1, longest)
        yield data[start : start + size]
        start += size


def mutated_json(chance: random.Random, value: Any) -> Any:
    """A copy of `value` with about one change a dozen values: other types, edges, fields lost, doubled, renamed."""
    if chance.randrange(24) == 0:
        return _strange(chance, value)
    if isinstance(value, dict):
        changed = {key: mutated_json(chance, item) for key, item in value.items() if chance.randrange(40)}
        if changed and chance.randrange(30) == 0:
            changed[chance.choice(TEXTS)] = chance.choice(list(changed.values()))
        return changed
    if isinstance(value, list):
        changed_items = [mutated_json(chance, item) for item in value if chance.randrange(40)]
        return changed_items * chance.choice((1,) * 20 + (0, 2, 30))
    return value


def _strange(chance: random.Random, value: Any) -> Any:
    what = chance.randrange(8)
    if what == 0:
        return None
    if what == 1:
        return chance.choice(NUMBERS)
    if what == 2:
        return chance.choice(TEXTS)
    if what == 3:
        return chance.choice((True, False, [], {}, [[]], [{}], {"value": {}}))
    if what == 4:
        return [value]
    if what == 5:
        return str(value)
    if what == 6:
        return {"value": value}
    for _ in range(DEEP):
        value = [value]
    return value
