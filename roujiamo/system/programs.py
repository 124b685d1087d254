"""Starting one of our own programs as a process of its own.

Layer 2; used by the programs that start others (they never import each other). The package that runs now is the one
that is started, whether it is installed or a checkout, and whatever lies in the working directory: `python -m` would
let a user's `json.py` there take the place of the library's.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# The folder that the package is in. (Not by pathlib, which would take longer to load than all else here.)
_FOLDER = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
_START = (
    "import runpy, sys; sys.path[0] = sys.argv.pop(1); "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


# A principal's secret. It goes to nobody's environment; whom it concerns gets it over a connection.
SECRET_VARIABLE = "ROUJIAMO_SECRET"


def without_secret(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a program of ours inherits."""
    return {name: value for name, value in environment.items() if name != SECRET_VARIABLE}


def program_command(module: str, *arguments: str) -> list[str]:
    """Return the argument list that runs `python -m module arguments…` with this package and this interpreter."""
    return [sys.executable, "-c", _START, _FOLDER, module, *arguments]
