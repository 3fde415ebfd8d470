from __future__ import annotations

import asyncio

from agent_service.notice import Notice


def test_an_announcement_wakes_everybody_who_waits_and_nobody_later() -> None:
    async def scenario() -> None:
        notice = Notice()
        waiters = [asyncio.create_task(notice.wait(3600)) for _ in range(3)]
        await asyncio.sleep(0)
        notice.announce()
        await asyncio.wait_for(asyncio.gather(*waiters), 10)
        late = asyncio.create_task(notice.wait(3600))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not late.done()
        late.cancel()

    asyncio.run(scenario())


def test_a_wait_ends_with_its_timeout() -> None:
    asyncio.run(Notice().wait(0))
