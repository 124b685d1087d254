"""`python -m roujiamo.driver`: started by the broker."""

import os
import sys

from roujiamo.driver.program import main

if __name__ == "__main__":
    status = main(sys.argv[1:])
    # Not sys.exit: a thread that still waits for a master or a name server must not hold the process back.
    os._exit(status)
