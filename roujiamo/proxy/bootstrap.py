"""The command of the Mesos task: `first_contact` made short, and the shell line that finds a Python for it.

Runs on the submitting side only. Pure.
"""

from roujiamo.proxy.first_contact_short import MAIN, PROGRAM

# -I: see nothing of the environment and of the sandbox, where a file of the user's may be called socket.py. -S: no
# site, which halves the start. RHEL 8 has a Python 3.6 for itself that is not on PATH.
_SHELL = """for p in python3 /usr/libexec/platform-python; do \
command -v $p >/dev/null 2>&1 && exec $p -I -S -c '%s'; done; \
echo "roujiamo-proxy: $ROUJIAMO_HOST: no python3 on this agent; \
install python3 >= 3.6 there, or use an image that has it" >&2; \
exit 127"""

# A broker that is there answers within moments; one whose machine is busy with thousands of hosts takes longer.
PATIENCE_SECONDS = 30


def bootstrap_command(patience_seconds: float = PATIENCE_SECONDS) -> str:
    """Return the shell command of the Mesos task (TaskInfo.command.value); the environment tells it the rest.

    `patience_seconds`: how long it tries to call back before it gives up.
    """
    return _SHELL % bootstrap_program(patience_seconds)


def bootstrap_program(patience_seconds: float = PATIENCE_SECONDS) -> str:
    """Return the Python program that the task carries. It holds no single quote, so that a shell leaves it alone."""
    return "%s%s(%g)" % (PROGRAM, MAIN, patience_seconds)
