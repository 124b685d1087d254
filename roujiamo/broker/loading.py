"""What a session's broker loads, in pieces: asyncio, and the session's own modules.

Runs in the broker before its loop. It takes longer than all else that the broker does until its first offer (70 ms), so
that nobody waits for it who need not: the driver is told what to subscribe with in between, once that is known.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator


def loading() -> Iterator[str]:
    """Load one piece after another; yield the name of each that has been loaded."""
    # What asyncio begins with is half of it.
    import concurrent.futures  # noqa: F401

    yield "concurrent.futures"
    load_asyncio()
    yield "asyncio"
    import roujiamo.broker.serving  # noqa: F401

    yield "roujiamo.broker.serving"


def load_asyncio() -> None:
    """Load it, but not all that it would bring.

    As in a Python that has no ssl, 6 of 45 ms: no connection here has TLS. And inspect, with ast and dis 9 ms, once it
    is used, which it is not: asyncio asks it what something is that might be a coroutine.
    """
    stand_in = type(sys)("inspect")
    stand_in.__getattr__ = _of_inspect  # type: ignore[method-assign]  # a module's own (PEP 562)
    sys.modules["inspect"] = stand_in
    sys.modules["ssl"] = None  # type: ignore[assignment]  # what makes an import of it fail
    try:
        import asyncio  # noqa: F401
    finally:
        del sys.modules["ssl"], sys.modules["inspect"]


def _of_inspect(name: str) -> object:
    import inspect

    return getattr(inspect, name)
