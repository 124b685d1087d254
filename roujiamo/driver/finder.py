"""Which master to try next.

Runs in the driver. Its main thread says what became of the last one; `find` and `find_all` run in threads that may
block.
"""

from __future__ import annotations

from roujiamo.pymesos_driver.master import Address, ZooKeeper, reach
from roujiamo.pymesos_driver.trouble import MasterTrouble
from roujiamo.pymesos_driver.zookeeper import find_leader

CONNECT_SECONDS = 5.0
ZOOKEEPER_SECONDS = 8.0


class MasterFinder:
    """Goes round the masters that the user named, and where one of them redirects to. Masters are "ip:port"."""

    def __init__(self, named: tuple[Address, ...] | ZooKeeper) -> None:
        self._named = named
        self._turn = 0
        self._redirect: Address | None = None
        self._last: str | None = None

    @property
    def has_choice(self) -> bool:
        """Whether the next try may go somewhere else than the last one."""
        return isinstance(self._named, ZooKeeper) or len(self._named) > 1 or self._redirect is not None

    def follow(self, target: Address) -> None:
        """The master redirected to `target`."""
        self._redirect = target

    def move_on(self) -> None:
        """The master was of no use."""
        self._redirect = None
        self._turn += 1

    def find(self) -> str:
        """Return the next master to try.

        Raises MasterTrouble where nothing listens there.
        """
        if self._redirect is not None:
            self._last = reach(self._redirect, CONNECT_SECONDS)
        else:
            named = self._addresses()
            self._last = reach(named[self._turn % len(named)], CONNECT_SECONDS)
        return self._last

    def find_all(self) -> list[str]:
        """Return every master that listens, the last one tried first.

        Raises MasterTrouble where there is none.
        """
        found = [self._last] if self._last is not None else []
        trouble: MasterTrouble | None = None
        for address in self._addresses():
            try:
                found.append(reach(address, CONNECT_SECONDS))
            except MasterTrouble as error:
                trouble = error
        if not found and trouble is not None:
            raise trouble
        return list(dict.fromkeys(found))

    def _addresses(self) -> tuple[Address, ...]:
        return (
            (find_leader(self._named, ZOOKEEPER_SECONDS),)
            if isinstance(self._named, ZooKeeper)
            else self._named
        )
