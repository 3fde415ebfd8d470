from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp.types import CallToolResult, JSONRPCMessage, JSONRPCResponse

from agent_service.runtimes.tools.errors import ServerLost
from agent_service.runtimes.tools.link import Link
from agent_service.runtimes.tools.session import Session

# Turns of the event loop: more than any of these ends takes.
TURNS = range(12)

ToSession = MemoryObjectSendStream[SessionMessage | Exception]
FromSession = MemoryObjectReceiveStream[SessionMessage]


@asynccontextmanager
async def opened(link: Link) -> AsyncIterator[tuple[Session, ToSession, FromSession]]:
    async def on_message(message: object) -> None:
        """Nobody listens."""

    async def on_log(params: object) -> None:
        """Nor reads."""

    to_session, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](10)
    outgoing, from_session = anyio.create_memory_object_stream[SessionMessage](0)
    async with (
        to_session,
        from_session,
        Session((incoming, outgoing), link, on_message=on_message, on_log=on_log) as it,
    ):
        yield it, to_session, from_session


async def turn(times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


def answer(request_id: int) -> SessionMessage:
    response = JSONRPCResponse(jsonrpc="2.0", id=request_id, result={"content": []})
    return SessionMessage(JSONRPCMessage(response))


@pytest.mark.parametrize("turns", TURNS)
def test_every_call_ends_in_whichever_turn_of_the_end_of_its_session_the_connection_is_lost(turns: int) -> None:
    async def scenario() -> None:
        link = Link(lambda: None)
        async with opened(link) as (session, to_session, _):
            calls = [asyncio.create_task(session.call("echo", {})) for _ in range(4)]
            await turn(3)
            to_session.close()
            await turn(turns)
            link.lose("it died")
        ends = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 10)
        assert [type(end) for end in ends] == [ServerLost] * 4

    asyncio.run(scenario())


@pytest.mark.parametrize("turns", TURNS)
def test_an_answer_to_who_has_just_gone_does_not_end_the_session(turns: int) -> None:
    async def scenario() -> None:
        async with opened(Link(lambda: None)) as (session, to_session, from_session):
            first = asyncio.create_task(session.call("echo", {}))
            await from_session.receive()
            await to_session.send(answer(0))
            await turn(turns)
            first.cancel()
            second = asyncio.create_task(session.call("echo", {}))
            while (await from_session.receive()).message.root.model_dump().get("id") != 1:
                """What was cancelled is said before."""
            await to_session.send(answer(1))
            assert isinstance(await asyncio.wait_for(second, 10), CallToolResult)
            await asyncio.wait([first])

    asyncio.run(scenario())
