"""Where the shim enters the starter: with the shim's own interpreter, which may be too old for it.

Its own syntax is the oldest, so that any Python 3 can say what is wrong.
"""

import sys

if sys.version_info < (3, 11):
    sys.stdout.write(
        "%s is Python %d.%d, and a session needs 3.11 or newer; set ROUJIAMO_PYTHON to one, or start the session with "
        "`roujiamo run`" % (sys.executable, sys.version_info[0], sys.version_info[1])
    )
    sys.exit(255)

# It is started as a file, so the folder that the path begins with is this one, whose modules are no top-level ones.
sys.path[0] = __file__[: -len("/roujiamo/starter/__main__.py")] or "/"

from roujiamo.starter.program import main  # noqa: E402 the path had to be there first

sys.exit(main(sys.argv[1:]))
