from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agent_service.contract import ToolServerState
from agent_service.runtimes.tools.errors import CallFailed, CallTimedOut, ToolServerUnavailable
from agent_service.runtimes.tools.timing import Timing
from agent_service.runtimes.tools.tool_server import ToolServer
from tests.unit.agent_service.runtimes.tools.fake_server import FakeServer, client, listed
from tests.unit.manager.fakes.clock import advance, run, until

STABLE_SECONDS = 20


@asynccontextmanager
async def started(server: FakeServer, **changes: Any) -> AsyncIterator[ToolServer]:
    """Settled, and long enough connected that a loss is its first."""
    made = client(server, **changes)
    made.start()
    try:
        await made.settle()
        await advance(STABLE_SECONDS)
        yield made
    finally:
        await made.close()


async def call(server: ToolServer, index: int = 0) -> str:
    result = await server.call(server.known_tools[index], {})
    return str(result.content[0].text)  # type: ignore[union-attr]


def test_a_call_is_answered_and_counted() -> None:
    async def scenario() -> None:
        fake = FakeServer(listed("work"))
        async with started(fake) as server:
            assert await call(server) == "done"
            health = server.health()
            assert (health.state, health.tools, health.calls_total, health.calls_failed) == ("ready", 1, 1, 0)
            assert health.last_error is None

    run(scenario())


def test_a_server_that_cannot_be_reached_is_tried_again_ever_more_slowly() -> None:
    async def scenario() -> None:
        fake = FakeServer()
        fake.refuses = "nobody is there"
        async with started(fake, timing=Timing(first_backoff=1, longest_backoff=8)) as server:
            assert (server.health().state, server.health().last_error) == ("unavailable", "nobody is there")
            await advance(60)
            waits = [round(b - a) for a, b in zip(fake.connected_at, fake.connected_at[1:], strict=False)]
            assert waits[:5] == [1, 2, 4, 8, 8]
            fake.refuses = None
            await until(lambda: server.is_offered)

    run(scenario())


def test_a_server_of_another_age_is_unavailable_and_says_why() -> None:
    async def scenario() -> None:
        fake = FakeServer()
        fake.version = "1999-01-01"
        async with started(fake) as server:
            assert server.health().last_error == "it speaks a version of MCP that we do not"

    run(scenario())


def test_a_stable_connection_is_renewed_at_once_and_one_that_always_breaks_with_patience() -> None:
    async def scenario() -> None:
        fake = FakeServer(listed("work"))
        async with started(fake, timing=Timing(first_backoff=2, longest_backoff=60)) as server:
            fake.die()
            await until(lambda: len(fake.connected_at) == 2, within=0.1)
            await until(lambda: server.health().state is ToolServerState.READY)
            for lived in range(4):
                fake.die()
                await until(lambda lived=lived: len(fake.connected_at) == lived + 3)
                await until(lambda: server.health().state is ToolServerState.READY)
            waits = [round(b - a) for a, b in zip(fake.connected_at[1:], fake.connected_at[2:], strict=False)]
            assert waits == [2, 4, 8, 16]
            assert server.health().reconnects == 5

    run(scenario())


def test_tools_stay_on_offer_while_a_lost_server_is_connected_again_and_go_when_that_fails() -> None:
    async def scenario() -> None:
        fake = FakeServer(listed("work"))
        changes: list[int] = []
        async with started(fake, on_change=lambda: changes.append(1)) as server:
            fake.silent = {"initialize"}
            fake.die()
            await until(lambda: len(fake.connected_at) == 2)
            assert server.is_offered and server.health().state is ToolServerState.CONNECTING
            before = len(changes)
            fake.refuses = "gone"
            fake.die("really")
            await until(lambda: not server.is_offered)
            assert server.health().state is ToolServerState.UNAVAILABLE and len(changes) > before
            assert [tool.name for tool in server.known_tools] == ["work"]

    run(scenario())


def test_a_call_waits_for_the_connection_that_is_being_made_again() -> None:
    async def scenario() -> None:
        fake = FakeServer(listed("work"))
        async with started(fake) as server:
            fake.silent = {"initialize"}
            fake.die()
            await until(lambda: len(fake.connected_at) == 2)
            waiting = asyncio.create_task(call(server))
            await advance(5)
            assert not waiting.done()
            fake.silent = set()
            fake.die("and again")
            assert await waiting == "done"
            assert fake.calls() == 1

    run(scenario())


@pytest.mark.parametrize(
    ("annotations", "tries"), [({}, 1), ({"readOnlyHint": True}, 3), ({"idempotentHint": True}, 3)]
)
def test_a_call_that_was_begun_is_made_again_only_where_that_does_no_harm(
    annotations: dict[str, bool], tries: int
) -> None:
    async def scenario() -> None:
        fake = FakeServer(listed("work", annotations=annotations))
        async with started(fake, retries=2) as server:
            fake.silent = {"tools/call"}
            failing = asyncio.create_task(call(server))
            for number in range(1, tries + 1):
                await until(lambda number=number: fake.calls() == number)
                fake.die()
            with pytest.raises(ToolServerUnavailable, match="'fake' is unavailable: it died"):
                await failing
            assert fake.calls() == tries
            assert server.health().calls_failed == 1

    run(scenario())


def test_calls_to_an_unavailable_server_are_tried_as_often_as_told_and_then_given_up() -> None:
    async def scenario() -> None:
        fake = FakeServer(listed("work"))
        async with started(fake, retries=3, timing=Timing(first_backoff=1)) as server:
            fake.refuses = "gone"
            fake.die()
            await until(lambda: server.health().state is ToolServerState.UNAVAILABLE)
            began = asyncio.get_running_loop().time()
            with pytest.raises(ToolServerUnavailable, match="gone"):
                await call(server)
            assert 7 <= asyncio.get_running_loop().time() - began < 7.5

    run(scenario())


def test_a_call_without_an_answer_in_time_is_cancelled_at_the_server_and_doubts_it() -> None:
    async def scenario() -> None:
        fake = FakeServer(listed("work"))
        async with started(fake, timeout_seconds=3) as server:
            fake.silent = {"tools/call"}
            pings = fake.seen.count("ping")
            with pytest.raises(CallTimedOut, match=r"'work' did not answer within 3 s"):
                await call(server)
            await until(lambda: "notifications/cancelled" in fake.seen, within=1)
            await until(lambda: fake.seen.count("ping") > pings, within=1)
            fake.silent = set()
            assert await call(server) == "done"
            assert len(fake.connected_at) == 1

    run(scenario())


def test_a_cancelled_call_is_cancelled_at_the_server() -> None:
    async def scenario() -> None:
        fake = FakeServer(listed("work"))
        async with started(fake) as server:
            fake.silent = {"tools/call"}
            task = asyncio.create_task(call(server))
            await until(lambda: fake.calls() == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: fake.seen[-1] == "notifications/cancelled", within=1)
            fake.silent = set()
            assert await call(server) == "done"

    run(scenario())


def test_a_server_that_answers_no_ping_is_lost_unless_it_works_on_a_call() -> None:
    async def scenario() -> None:
        fake = FakeServer(listed("work"))
        timing = Timing(ping_interval=10, ping=2)
        async with started(fake, timing=timing, timeout_seconds=100, retries=0) as server:
            fake.silent = {"ping", "tools/call"}
            working = asyncio.create_task(call(server))
            await advance(60)
            assert len(fake.connected_at) == 1 and server.health().ping_ms is not None
            with pytest.raises(CallTimedOut):
                await working
            await until(lambda: len(fake.connected_at) == 2, within=20)

    run(scenario())


def test_a_server_that_answers_nothing_is_lost_however_many_calls_keep_waiting_for_it() -> None:
    async def scenario() -> None:
        fake = FakeServer(listed("work"))
        async with started(fake, timing=Timing(ping_interval=10, ping=2), timeout_seconds=30) as server:
            fake.silent = {"ping", "tools/call"}
            calls = []
            for _ in range(10):
                calls.append(asyncio.create_task(call(server)))
                await advance(8)
            assert len(fake.connected_at) > 1
            await asyncio.gather(*calls, return_exceptions=True)

    run(scenario())


def test_closing_waits_for_no_backoff() -> None:
    async def scenario() -> None:
        fake = FakeServer()
        fake.refuses = "gone"
        loop = asyncio.get_running_loop()
        async with started(fake, timing=Timing(first_backoff=600, longest_backoff=600)):
            began = loop.time()
        assert loop.time() - began < 1

    run(scenario())


def test_an_error_is_an_answer_to_a_ping() -> None:
    async def scenario() -> None:
        fake = FakeServer(listed("work"))
        fake.errors = {"ping"}
        async with started(fake, timing=Timing(ping_interval=1)) as server:
            assert fake.seen.count("ping") > 5
            assert len(fake.connected_at) == 1 and server.health().state is ToolServerState.READY

    run(scenario())


def test_a_changed_list_is_read_again_but_not_without_pause() -> None:
    async def scenario() -> None:
        fake = FakeServer(listed("one"))
        changes: list[int] = []
        async with started(fake, timing=Timing(refresh=5), on_change=lambda: changes.append(1)) as server:
            fake.tools.append(listed("two"))
            before = len(changes)
            lists = fake.seen.count("tools/list")
            for _ in range(50):
                await fake.notify("notifications/tools/list_changed")
            await until(lambda: len(server.known_tools) == 2)
            await advance(20)
            assert len(changes) == before + 1
            assert fake.seen.count("tools/list") - lists <= 2

    run(scenario())


def test_a_list_that_cannot_be_read_again_leaves_the_old_one() -> None:
    async def scenario() -> None:
        fake = FakeServer(listed("one"))
        async with started(fake) as server:
            fake.silent = {"tools/list"}
            await fake.notify("notifications/tools/list_changed")
            await advance(300)
            assert [tool.name for tool in server.known_tools] == ["one"]
            assert server.is_offered

    run(scenario())


def test_an_answer_that_is_no_result_fails_the_call_and_nothing_else() -> None:
    async def scenario() -> None:
        fake = FakeServer(listed("work"))
        async with started(fake) as server:
            fake.result = {"content": 7}
            with pytest.raises(CallFailed, match="not what MCP prescribes"):
                await call(server)
            fake.result = {"content": [{"type": "text", "text": "fine"}]}
            assert await call(server) == "fine"

    run(scenario())


def test_who_is_held_is_retired_only_when_let_go() -> None:
    async def scenario() -> None:
        fake = FakeServer(listed("work"))
        async with started(fake) as server:
            with server.held():
                retiring = asyncio.create_task(server.retire())
                await advance(100)
                assert not retiring.done() and await call(server) == "done"
            await retiring
            with pytest.raises(ToolServerUnavailable):
                await call(server)

    run(scenario())


def test_closing_ends_a_call_that_waits() -> None:
    async def scenario() -> None:
        fake = FakeServer(listed("work"))
        async with started(fake) as server:
            fake.silent = {"tools/call"}
            waiting = asyncio.create_task(call(server))
            await until(lambda: fake.calls() == 1)
            await server.close()
            with pytest.raises(ToolServerUnavailable):
                await waiting

    run(scenario())
