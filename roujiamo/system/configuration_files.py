"""Where roujiamo.toml is looked for.

Imported by the shim (Python 3.6, loads in well under a millisecond), which only wants to know whether there is one, and
by the programs that read it. Trusts the environment, which is its user's.
"""

import posix

MYPY = False
if MYPY:
    from collections.abc import Mapping

SYSTEM_FILE = b"/etc/roujiamo/roujiamo.toml"
VARIABLE = b"ROUJIAMO_CONFIG"


def candidates(environment: "Mapping[bytes, bytes]") -> "list[bytes]":
    """Return the paths of the files, the one that goes before first: the one that ROUJIAMO_CONFIG names, alone.

    Else the user's (XDG Base Directory Specification: `XDG_CONFIG_HOME`, else `~/.config`), and the system's.
    """
    named = environment.get(VARIABLE, b"")
    if named:
        return [named]
    paths = []
    # By the specification, a relative path here is invalid and to be passed over.
    folder = environment.get(b"XDG_CONFIG_HOME", b"")
    home = environment.get(b"HOME", b"")
    if folder[:1] != b"/" and home[:1] == b"/":
        folder = home.rstrip(b"/") + b"/.config"
    if folder[:1] == b"/":
        paths.append(folder.rstrip(b"/") + b"/roujiamo/roujiamo.toml")
    return [*paths, SYSTEM_FILE]


def is_any_there(environment: "Mapping[bytes, bytes]") -> bool:
    """Tell whether there is a configuration, readable or not, that says something."""
    for path in candidates(environment):
        try:
            if posix.stat(path).st_size:
                return True
        except OSError:
            # One that was named and is not there is a mistake, to be told where the file is read.
            if environment.get(VARIABLE, b""):
                return True
    return False
