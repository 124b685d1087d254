"""What one check of `roujiamo doctor` found. Runs in the user's shell."""

from __future__ import annotations

from dataclasses import dataclass

GOOD, NOTE, BAD = "good", "note", "bad"


@dataclass(frozen=True)
class Finding:
    """What one check found: GOOD, a NOTE that prevents nothing, or BAD. The text holds the remedy."""

    check: str
    verdict: str
    text: str
