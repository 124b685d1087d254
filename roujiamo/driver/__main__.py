"""`python -m roujiamo.driver`: started by the broker."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from roujiamo.driver import program


def main(arguments: Sequence[str]) -> NoReturn:
    """Run the driver, and end the process."""
    # Not sys.exit: a thread that still waits for a master or a name server must not hold the process back.
    os._exit(program.main(arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
