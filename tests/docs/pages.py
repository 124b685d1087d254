"""The documents: README.md and the pages of roujiamo/docs. Imported by their tests."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "roujiamo" / "docs"
README = ROOT / "README.md"


def pages() -> list[Path]:
    """All of them."""
    return [README, *sorted(DOCS.glob("*.md"))]
