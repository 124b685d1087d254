"""The only user of pymesos: a subscription to a Mesos master, and all that it takes to make one reliable.

Runs in the driver process. Nothing here reads stdin, writes stdout or decides what to do next; that is the program
`roujiamo.driver`. What pymesos 0.3.15 does on its own and what is done about it, module by module:

- `loading`       it takes SIGINT over, logs to stderr, interrupts the main thread, needs a parser that does not build
- `connection`    it reconnects by itself for a day, loses why it was refused, and buffers garbage without bound
- `subscription`  it loses calls in silence, shares headers, waits a day under a lock, adds GPU_RESOURCES
- `master`        it knows no `http://`, no second master, no name that does not resolve
- `teardown`      it sends no TEARDOWN where it is not connected
"""

# pymesos cannot be a plain dependency: pip would build its http-parser, which does not compile on Python 3.11.
INSTALL_LINE = "pip install --no-deps pymesos==0.3.15 && pip install six addict kazoo psutil"
