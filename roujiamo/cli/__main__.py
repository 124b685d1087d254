"""`python -m roujiamo.cli`: the `roujiamo` command from a checkout."""

import sys

from roujiamo.cli import main

sys.exit(main())
