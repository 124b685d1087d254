"""Where frames go out: many small ones in one write, as each is a call to the system and wakes its reader.

Runs in the broker.
"""

from __future__ import annotations

import asyncio


class Outlet:
    """Where frames go out: those of one turn of the loop together, at its end or at the next `flush`."""

    __slots__ = ("_flush_scheduled", "_is_held")

    def __init__(self) -> None:
        self._flush_scheduled = False
        self._is_held = False

    def flush_soon(self) -> None:
        """Call `flush` at the end of this turn of the loop, unless that is somebody's task already."""
        if not self._flush_scheduled and not self._is_held:
            self._flush_scheduled = True
            asyncio.get_running_loop().call_soon(self.flush)

    def hold(self) -> None:
        """Until the next `flush`, which is the caller's, frames wait: it spares a turn of the loop."""
        self._is_held = True

    def flush(self) -> None:
        """Write what waits."""
        self._flush_scheduled = self._is_held = False
        self._write()

    def _write(self) -> None:
        raise NotImplementedError
