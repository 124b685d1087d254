"""How the value of an option is read from a text: a command line's, a variable's, a configuration's.

Pure. Each returns the value, or raises ValueError with a sentence that has the text in it.
"""

from __future__ import annotations

from collections.abc import Callable

from roujiamo.errors import UsageError
from roujiamo.mesos.taskinfo import DOCKER as DOCKER_CONTAINERIZER
from roujiamo.mesos.taskinfo import MESOS as MESOS_CONTAINERIZER


def read_count(text: str) -> int:
    """Return a number from 1 to 1000000. Raises ValueError."""
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= 1_000_000:
        raise ValueError(f"{text!r} is not a number from 1 to 1000000")
    return int(text)


def read_amount(text: str) -> float:
    """Return an amount of 0 or more. Raises ValueError."""
    amount = _number(text)
    # Not a number (nan) compares false.
    if not 0 <= amount < 1e9:
        raise ValueError(f"{text!r} is not an amount of 0 or more")
    return amount


def read_seconds(text: str) -> float:
    """Return a number of seconds above 0. Raises ValueError."""
    seconds = _number(text)
    if not 0 < seconds <= 1e8:
        raise ValueError(f"{text!r} is not a number of seconds above 0")
    return seconds


def read_time_limit(text: str) -> float:
    """Return the seconds of a time limit as srun(1) writes it (--time), 0 for none. Raises ValueError.

    MINUTES, MINUTES:SECONDS, HOURS:MINUTES:SECONDS, DAYS-HOURS, DAYS-HOURS:MINUTES, DAYS-HOURS:MINUTES:SECONDS.
    """
    if text.lower() in ("unlimited", "infinite"):
        return 0.0
    days, dash, rest = text.partition("-")
    parts = rest.split(":") if dash else [days] if ":" not in days else days.split(":")
    words = [days, *parts] if dash else parts
    if len(parts) > 3 or not all(word.isascii() and word.isdigit() and len(word) < 9 for word in words):
        raise ValueError(f"{text!r} is not a time limit: MINUTES, MM:SS, HH:MM:SS, DAYS-HH, DAYS-HH:MM:SS")
    numbers = [int(part) for part in parts]
    if dash:
        hours, minutes, seconds = [*numbers, 0, 0][:3]
        return float(((int(days) * 24 + hours) * 60 + minutes) * 60 + seconds)
    # One number is minutes, two are minutes and seconds.
    hours, minutes, seconds = [0, *numbers, 0][:3] if len(numbers) < 3 else numbers
    return float((hours * 60 + minutes) * 60 + seconds)


def show_time(seconds: float) -> str:
    """Return a time as `read_time_limit` reads it: `1:05`, `2:00:00`, `1-00:00:00`."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours >= 24:
        return f"{hours // 24}-{hours % 24:02}:{minutes:02}:{rest:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def read_ports(text: str) -> tuple[int, int]:
    """Return the two ends of LOW[-HIGH]. Raises ValueError."""
    low, _, high = text.partition("-")
    ends = (low, high or low)
    if not all(end.isascii() and end.isdigit() for end in ends) or not 1 <= int(low) <= int(ends[1]) <= 65535:
        raise ValueError(f"{text!r} is not a port, or two from 1 to 65535 as LOW-HIGH")
    return int(low), int(ends[1])


def read_switch(text: str) -> bool:
    """Return what a switch's variable says. Raises ValueError."""
    folded = text.lower()
    if folded in ("1", "true", "yes", "on"):
        return True
    if folded in ("", "0", "false", "no", "off"):
        return False
    raise ValueError(f"{text!r} is neither yes nor no")


def read_containerizer(text: str) -> str:
    """Return the name of a containerizer. Raises ValueError."""
    if text not in (MESOS_CONTAINERIZER, DOCKER_CONTAINERIZER):
        raise ValueError(f"{text!r} is neither {MESOS_CONTAINERIZER} nor {DOCKER_CONTAINERIZER}")
    return text


def read_device(text: str) -> str:
    """Return a path under /dev. Raises ValueError."""
    if not text.startswith("/dev/") or ".." in text.split("/"):
        raise ValueError(f"{text!r} is not a path under /dev")
    return text


def read_hosts(text: str) -> str:
    """Return names of agents, with commas between them. Raises ValueError."""
    for name in text.split(","):
        host, colon, slots = name.rpartition(":")
        if colon and ":" not in host and slots.isdigit():
            # As mpirun -H would have it; an IPv6 address has more colons.
            raise ValueError(
                f"{name!r} is no agent's name; how many processes a host gets is for -n and --max-slots-per-host to say"
            )
    return text


def read_timeline(text: str) -> str:
    """Return the path of a file whose name ends with .json or .svg. Raises ValueError."""
    if not text.endswith((".json", ".svg")):
        raise ValueError(f"{text!r} ends neither with .json (a Chrome trace) nor with .svg (a picture)")
    return text


def checked_by(parse: Callable[[str], object]) -> Callable[[str], str]:
    """Return a reader of texts that `parse` understands: a wrong one is found where it is written."""

    def read(text: str) -> str:
        try:
            parse(text)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return text

    return read


def read_verbosity(text: str) -> int:
    """Return how much is said: 0, 1 or 2. Raises ValueError."""
    if text not in ("0", "1", "2"):
        raise ValueError(f"{text!r} is not 0, 1 or 2")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0
