from __future__ import annotations

import asyncio
from typing import Any

from agent_service.http.coalescing import FULL, Joining


class Transport:
    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.ended: str | None = None

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def get_extra_info(self, name: str) -> None:
        return None

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"


def joined(work: Any) -> Transport:
    """What left after `work`, and one turn of the loop more."""

    async def scenario() -> None:
        done = work(Joining(transport, asyncio.get_running_loop()))  # type: ignore[arg-type]
        if done is not None:
            await done
        await asyncio.sleep(0)

    transport = Transport()
    asyncio.run(scenario())
    return transport


def test_a_head_leaves_with_the_first_of_its_body() -> None:
    def work(out: Joining) -> None:
        for piece in (b"head ", b"body", b"", b"more"):
            out.write(piece)

    assert joined(work).writes == [b"head body", b"more"]


def test_a_head_alone_leaves_with_the_next_turn_of_the_loop() -> None:
    async def work(out: Joining) -> None:
        out.write(b"head")
        await asyncio.sleep(0)
        out.write(b"body")
        await asyncio.sleep(0)

    assert joined(work).writes == [b"head", b"body"]


def test_what_is_large_already_is_not_held() -> None:
    def work(out: Joining) -> None:
        out.write(b"x" * FULL)
        out.write(b"y")

    assert joined(work).writes == [b"x" * FULL, b"y"]


def test_closing_sends_what_is_held_and_aborting_does_not() -> None:
    def closing(out: Joining) -> None:
        out.write(b"held")
        out.close()

    def aborting(out: Joining) -> None:
        out.write(b"held")
        out.abort()

    assert (joined(closing).writes, joined(closing).ended) == ([b"held"], "closed")
    assert (joined(aborting).writes, joined(aborting).ended) == ([], "aborted")
