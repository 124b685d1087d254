"""`python -m roujiamo.broker --control-fd N`: the broker's process. Started by the programs that want a session."""

import sys

from roujiamo.broker.program import main

sys.exit(main(sys.argv[1:]))
