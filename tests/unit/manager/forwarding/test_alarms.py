from __future__ import annotations

import asyncio

from manager.forwarding.alarms import Alarms
from tests.unit.manager.fakes.clock import run


def test_each_rings_at_its_time() -> None:
    async def scenario() -> None:
        alarms, rung, loop = Alarms(), [], asyncio.get_running_loop()
        began = loop.time()

        def ring(name: str) -> None:
            rung.append((name, round(loop.time() - began)))

        alarms.set(5, lambda: ring("a"))
        alarms.set(2, lambda: ring("b"))
        await asyncio.sleep(1)
        alarms.set(5, lambda: ring("c"))
        alarms.set(5, lambda: ring("d"))
        await asyncio.sleep(20)
        alarms.set(5, lambda: ring("e"))
        await asyncio.sleep(20)
        assert rung == [("b", 2), ("a", 5), ("c", 6), ("d", 6), ("e", 26)]

    run(scenario())


def test_what_is_cancelled_does_not_ring_and_holds_up_no_other() -> None:
    async def scenario() -> None:
        alarms, rung = Alarms(), []
        first, _, third = (alarms.set(5, lambda name=name: rung.append(name)) for name in "abc")  # type: ignore[misc]
        first.cancel()
        await asyncio.sleep(4)
        third.cancel()
        third.cancel()
        await asyncio.sleep(4)
        assert rung == ["b"]

    run(scenario())


def test_one_that_rings_may_set_another_and_one_that_fails_holds_up_no_other() -> None:
    async def scenario() -> None:
        alarms, rung, failed = Alarms(), [], []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context["message"]))
        alarms.set(1, lambda: alarms.set(1, lambda: rung.append("again")))
        alarms.set(2, lambda: 1 / 0)
        await asyncio.sleep(1)
        alarms.set(2, lambda: rung.append("after"))
        await asyncio.sleep(5)
        assert rung == ["again", "after"] and len(failed) == 1

    run(scenario())
