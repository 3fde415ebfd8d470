from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent_service.errors import StateConflict
from agent_service.runtimes.react.thread_locks import ThreadLocks


def test_waiters_come_in_the_order_in_which_they_asked(tmp_path: Path) -> None:
    async def scenario() -> list[int]:
        locks = ThreadLocks(tmp_path / "lock")
        order = []

        async def take(number: int) -> None:
            async with locks.held("t"):
                order.append(number)
                await asyncio.sleep(0)

        await asyncio.gather(*(take(number) for number in range(5)))
        locks.close()
        return order

    assert asyncio.run(scenario()) == [0, 1, 2, 3, 4]


def test_one_who_gives_up_waiting_keeps_nobody_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        locks = ThreadLocks(tmp_path / "lock")
        async with locks.held("t"):
            waiter = asyncio.create_task(locks.held("t").__aenter__())
            await asyncio.sleep(0)
            waiter.cancel()
            await asyncio.wait({waiter})
            with pytest.raises(StateConflict, match="'t'"):
                async with locks.held("t", wait=False):
                    pass
            async with locks.held("u", wait=False):
                pass
        async with locks.held("t", wait=False):
            pass
        locks.close()

    asyncio.run(scenario())
