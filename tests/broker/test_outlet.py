"""Where frames go out: together where that spares a write, and at once where nobody holds them."""

from __future__ import annotations

import asyncio

from roujiamo.broker.outlet import Outlet


def test_one_turns_frames_go_together_and_a_held_outlet_waits_for_its_flush() -> None:
    """Each write is a call to the system, and wakes the peer."""

    class Counter(Outlet):
        writes = 0

        def _write(self) -> None:
            self.writes += 1

    async def scenario() -> None:
        outlet = Counter()
        for _ in range(3):
            outlet.flush_soon()
        await asyncio.sleep(0)
        assert outlet.writes == 1
        outlet.hold()
        outlet.flush_soon()
        await asyncio.sleep(0)
        assert outlet.writes == 1
        outlet.flush()
        outlet.flush_soon()
        await asyncio.sleep(0)
        assert outlet.writes == 3

    asyncio.run(scenario())
