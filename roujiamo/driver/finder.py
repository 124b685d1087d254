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
        self.last: str | None = None
        self._named = named
        self._turn = 0
        self._redirect: Address | None = None
        # The named masters whose names do not exist.
        self._nameless: set[Address] = set()

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
        """Return the next master to try; `last` is the one that was returned last.

        Raises MasterTrouble where nothing listens there. It is fatal where no name that the user gave exists.
        """
        if self._redirect is not None:
            self.last = _reach_said(self._redirect)
        elif isinstance(self._named, ZooKeeper):
            self.last = _reach_said(find_leader(self._named, ZOOKEEPER_SECONDS))
        else:
            self.last = self._reach_named(self._named[self._turn % len(self._named)])
        return self.last

    def find_all(self) -> list[str]:
        """Return every master that listens.

        Raises MasterTrouble where there is none.
        """
        if isinstance(self._named, ZooKeeper):
            return [_reach_said(find_leader(self._named, ZOOKEEPER_SECONDS))]
        found = []
        troubles: list[MasterTrouble] = []
        for address in self._named:
            try:
                found.append(reach(address, CONNECT_SECONDS))
            except MasterTrouble as error:
                troubles.append(error)
        if not found:
            raise troubles[0]
        return found

    def _reach_named(self, address: Address) -> str:
        try:
            return reach(address, CONNECT_SECONDS)
        except MasterTrouble as error:
            if error.is_fatal:
                self._nameless.add(address)
                error.is_fatal = self._nameless.issuperset(self._named)
            raise


def _reach_said(address: Address) -> str:
    """Reach a master that ZooKeeper or another master has named: either may name another in a moment."""
    try:
        return reach(address, CONNECT_SECONDS)
    except MasterTrouble as error:
        error.is_fatal = False
        raise
