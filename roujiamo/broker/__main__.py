"""`python -m roujiamo.broker --control-fd N --log-fd M`: the broker's process, started by who wants a session.

The driver is started before all else is loaded (see `driver_process`), and told before there is a loop (`program`).
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
    from roujiamo.broker.program import run

    return run(control, log, driver)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
