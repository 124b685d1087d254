"""The start of a shim whose modules are not stored: the first one, inside a task too, and one after an upgrade.

Runs in the shim, by `__main__`. Any Python 3 may be asked to import it, so its own syntax is the oldest.
"""

import sys

if sys.version_info < (3, 6):
    sys.stderr.write(
        "roujiamo-rsh: %s is Python %d.%d; set ROUJIAMO_PYTHON to a Python 3.6 or newer\n"
        % (sys.executable, sys.version_info[0], sys.version_info[1])
    )
    sys.exit(255)

import gc
import posix

MYPY = False
if MYPY:
    from collections.abc import Callable


def load_first(root: "str", store: "str") -> "Callable[[list[str]], int]":
    """Return the shim's main(), loaded by Python from the package in `root`; keep its modules in the file `store`."""
    # Nothing of what is loaded now is garbage; to look through it costs 0.2 ms.
    gc.disable()
    from roujiamo.shim.program import main

    if root[0] == "/" and posix.access(store.rpartition("/")[0], posix.W_OK):
        from roujiamo.shim.store import write_store

        write_store(root, store)
    gc.enable()
    return main
