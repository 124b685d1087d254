"""The proxy's log: short lines on the task's stderr, which Mesos keeps in the sandbox.

Runs in init and worker. Never a secret, a command's text or an environment in here: the sandbox is readable for more
people than the session's owner.
"""

import os
import sys

PREFIX = "roujiamo-proxy: "


def say(sentence: str) -> None:
    """Write one line; where that fails (a full disk, a closed stderr) the work goes on without it."""
    try:
        sys.stderr.write("%s%s: %s\n" % (PREFIX, os.environ.get("ROUJIAMO_HOST", "?"), sentence))
        sys.stderr.flush()
    except (OSError, ValueError):
        pass
