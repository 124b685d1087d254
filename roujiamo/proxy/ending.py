"""The end of a session on this host: nobody of it and nothing of ours stays.

Runs in init when the worker has ended, and in the worker when init has been killed. Trusts the kernel.
"""

import os

from roujiamo.proxy.log import say
from roujiamo.system import processes

# Mesos itself kills a task 3 s after it has asked it to end (the kill policy's default grace).
GRACE_SECONDS = 2.0


class Session:
    """What both processes of the proxy must know to clean up after one another."""

    __slots__ = ("folder", "has_subreaper", "marker")

    def __init__(self, folder: str, marker: str, has_subreaper: bool) -> None:
        """`folder`: where the code lies. `marker`: how ROUJIAMO_COMMAND begins in all commands' environment."""
        self.folder = folder
        self.marker = marker
        self.has_subreaper = has_subreaper

    def end(self) -> None:
        """End all processes that descend from this one, and remove the folder. Blocks some seconds at most."""
        left = processes.end_all(self._left, GRACE_SECONDS, reap=processes.reap_children)
        if left:
            say("could not end %s; look at them on this agent" % ", ".join(str(one.pid) for one in left))
        # Here, because it takes 10 ms to load.
        import shutil

        shutil.rmtree(self.folder, ignore_errors=True)

    def _left(self) -> "list[processes.Process]":
        running = processes.running_processes()
        found = processes.descendants(os.getpid(), running)
        if not self.has_subreaper:
            # Orphans have gone to somebody else then, and only their environment tells whose they are.
            entry = ("ROUJIAMO_COMMAND=" + self.marker).encode("ascii")
            found = list(set(found + processes.with_environment(entry, running.values())))
        return found
