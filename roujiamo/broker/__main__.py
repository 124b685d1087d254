"""`python -m roujiamo.broker --control-fd N --log-fd M`: the broker's process, started by who wants a session.

The driver is started before all else is loaded: see `driver_process`.
"""

from __future__ import annotations

import os
import sys

from roujiamo.broker.driver_process import DriverProcess
from roujiamo.errors import UsageError


def main(arguments: list[str]) -> int:
    """Run one session on the control connection whose descriptor is named; return the exit status."""
    if arguments[0::2] != ["--control-fd", "--log-fd"] or not all(word.isdigit() for word in arguments[1::2]):
        print("roujiamo.broker: started by roujiamo itself; use `roujiamo run`", flush=True)
        return UsageError.exit_status
    control, log = int(arguments[1]), int(arguments[3])
    for descriptor in (control, log):
        os.set_inheritable(descriptor, False)
    try:
        driver = DriverProcess(log=log)
    except OSError:
        # The session tries again, when there is somebody to tell why it does not work.
        driver = None
    load_asyncio()
    import socket

    from roujiamo.broker.program import run

    return run(socket.socket(fileno=control), log, driver)


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
