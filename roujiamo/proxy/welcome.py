"""The welcome: what a proxy gets once it has proved who it is, its own code first of all.

Made by the broker, read by `first_contact` (the code) and the worker (the rest). Pure apart from reading the package's
own texts once: nothing of roujiamo needs to be installed on the agents, and all hosts of a session run the same
version.
"""

import json
import zlib
from importlib import resources

from roujiamo.errors import UsageError
from roujiamo.protocol.frames import MAX_PAYLOAD
from roujiamo.protocol.handshake import SECRET_SIZE

MYPY = False
if MYPY:
    from collections.abc import Mapping

# All that runs on an agent, and what that imports: (folder, modules; all of the folder's where none are named).
_CARRIED = (
    ("", ("__init__", "errors")),
    ("protocol", ()),
    ("proxy", ()),
    ("shim", ()),
    ("system", ("__init__", "processes")),
)
# These run on the submitting side, or have done their work when the welcome comes.
_LEFT_OUT = ("roujiamo.proxy.bootstrap", "roujiamo.proxy.first_contact", "roujiamo.proxy.welcome")

# How far the proxy unpacks: see first_contact.
_MAX_UNPACKED = 1 << 26


def carried_modules() -> "dict[str, str]":
    """Return the text of each module that the agents need, by dotted name (a package's is called NAME.__init__)."""
    modules = {}
    for folder, names in _CARRIED:
        package = ("roujiamo.%s" % folder).rstrip(".")
        for file in resources.files("roujiamo").joinpath(folder).iterdir():
            module, dot, extension = file.name.rpartition(".")
            name = package + "." + module
            if dot + extension == ".py" and (not names or module in names) and name not in _LEFT_OUT:
                modules[name] = file.read_text(encoding="utf-8")
    return modules


def build_welcome(
    modules: "Mapping[str, str]",
    environment: "Mapping[str, str]",
    settings: "Mapping[str, object]",
    prefix: "str | None" = None,
) -> bytes:
    """Return what the WELCOME frames of all hosts begin with; behind it stands each host's resume credential.

    Made once a session, not once a host: to compress it takes 7 ms. `environment`: what the user wants remote commands
    to have. `settings`: see `roujiamo.proxy.settings`. `prefix`: the folder with the bin and lib of the MPI that remote
    commands find first.

    Raises UsageError where it is more than the wire allows; only the environment can be that large.
    """
    content = {
        "modules": dict(modules),
        "environment": dict(environment),
        "settings": dict(settings),
        "prefix": prefix or "",
    }
    text = json.dumps(content).encode("ascii")
    payload = zlib.compress(text) if len(text) <= _MAX_UNPACKED else b""
    if not payload or len(payload) + SECRET_SIZE > MAX_PAYLOAD:
        raise UsageError(
            "the environment for the remote commands has %d bytes, more than a host can be given; pass less of it"
            % sum(len(name) + len(value) for name, value in environment.items())
        )
    return payload
