"""What the broker may set for its proxies, and what holds where it says nothing.

Runs in the worker; the broker reads the names. Trusts the broker: these came in its welcome.
"""

MYPY = False
if MYPY:
    from collections.abc import Mapping

# How long a lost connection to the broker may stay lost before the host is given up.
RECONNECT_GRACE_SECONDS = 5.0
# The broker pings every 15 s: three in a row missed, and the connection is dead though nobody has said so.
SILENCE_SECONDS = 45.0
# Between SIGTERM (asked for by the shim) and SIGKILL: what orted needs to end its ranks in good order.
KILL_GRACE_SECONDS = 10.0
# A launcher starts some commands on a host, never a thousand; a loop in somebody's script does.
MAX_COMMANDS = 1024.0


class Settings:
    """What holds for one session; times in seconds. `unlocks_memory`: commands may lock as much as the host allows."""

    __slots__ = (
        "kill_grace_seconds",
        "max_commands",
        "reconnect_grace_seconds",
        "silence_seconds",
        "unlocks_memory",
    )

    def __init__(self, given: "Mapping[str, object]") -> None:
        """`given`: the welcome's settings. What is not a positive number there is as if it were not."""
        self.kill_grace_seconds = _number(given, "kill_grace_seconds", KILL_GRACE_SECONDS)
        self.max_commands = _number(given, "max_commands", MAX_COMMANDS)
        self.reconnect_grace_seconds = _number(given, "reconnect_grace_seconds", RECONNECT_GRACE_SECONDS)
        self.silence_seconds = _number(given, "silence_seconds", SILENCE_SECONDS)
        self.unlocks_memory = given.get("unlocks_memory") is True


def _number(given: "Mapping[str, object]", name: str, otherwise: float) -> float:
    value = given.get(name)
    return float(value) if isinstance(value, (int, float)) and value > 0 else otherwise
