"""What the product knows about Mesos itself: formats, offers, tasks, a master's state. Pure code.

Imported by the broker, by the driver and by the local cluster, on the submitting side only (Python 3.11 and later).
Nothing in this package opens a socket, reads a clock or starts a thread.
"""
