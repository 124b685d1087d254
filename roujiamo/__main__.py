"""`python -m roujiamo`: the `roujiamo` command."""

import sys

from roujiamo.cli import main

sys.exit(main())
