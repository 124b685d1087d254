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
    os.set_inheritable(control, False)
    try:
        driver = DriverProcess("--log-fd", str(log))
    except OSError:
        # The session tries again, when there is somebody to tell why it does not work.
        driver = None
    os.set_inheritable(log, False)
    _load_asyncio()
    import socket

    from roujiamo.broker.program import run

    return run(socket.socket(fileno=control), log, driver)


def _load_asyncio() -> None:
    """Load it as in a Python that has no ssl, which it would bring for TLS, 6 of 45 ms: no connection here has that."""
    sys.modules["ssl"] = None  # type: ignore[assignment]  # what makes an import of it fail
    try:
        import asyncio  # noqa: F401
    finally:
        del sys.modules["ssl"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
