"""The driver: the process that holds the framework's subscription, and tears the framework down when it is over.

A child of the broker, in a session of its own: `python -m roujiamo.driver`, JSON lines on stdin and stdout (see
`lines`), log lines on stderr. It outlives a broker that was killed by the few seconds that a TEARDOWN takes: the end
of its stdin, or of whoever reads its stdout, is the broker's end.

Threads and queues, no asyncio: pymesos has threads of its own and calls that block. The main thread owns stdin, stdout
and every decision, and never waits for anything but `poll`; what may block runs in one of two workers (finding the
master; scheduler calls), in pymesos's I/O thread, or in the teardown's thread, and comes back through the inbox.

It trusts the broker, whose child it is, and neither the master nor the network. The principal's secret comes in the
first line and goes nowhere but into requests to the master.
"""
