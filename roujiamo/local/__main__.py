"""`python -m roujiamo.local`: a Mesos cluster on this machine, in the foreground. It trusts its command line."""

import sys

from roujiamo.local.program import main

if __name__ == "__main__":
    sys.exit(main())
