from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from langchain_core.messages import ToolMessage

from agent_service.definition import McpServer
from agent_service.errors import EntryPointError
from agent_service.runtimes.tools.errors import ToolServerUnavailable
from agent_service.runtimes.tools.metrics import ToolMetrics
from agent_service.runtimes.tools.secrets import Secrets
from agent_service.runtimes.tools.timing import Timing
from agent_service.runtimes.tools.tool_server import ToolServer
from agent_service.runtimes.tools.toolbox import Toolbox
from tests.unit.agent_service.runtimes.tools.fake_server import FakeServer, definition, inline, listed
from tests.unit.manager.fakes.clock import advance, run, until


def resolve(text: str) -> str:
    if text.startswith("env:"):
        raise EntryPointError(f"{text} is not set.")
    return text


class Fleet:
    """A toolbox whose servers are fakes, by name."""

    def __init__(self, **fakes: FakeServer) -> None:
        self.fakes = fakes
        self.made: list[str] = []

    def make(
        self, server: McpServer, secrets: Secrets, metrics: ToolMetrics, on_change: Callable[[], None]
    ) -> ToolServer:
        self.made.append(server.name)
        return ToolServer(
            server,
            secrets,
            metrics,
            on_change,
            timing=Timing(),
            connect=self.fakes[server.name].connect,
            jitter=lambda: 1.0,
            offload=inline,
        )

    @asynccontextmanager
    async def opened(self, *servers: McpServer) -> AsyncIterator[Toolbox]:
        toolbox = Toolbox(servers, resolve, make=self.make)
        await toolbox.open()
        try:
            yield toolbox
        finally:
            await toolbox.close()


def names(toolbox: Toolbox) -> list[str]:
    return [tool.name for tool in toolbox.tools()]


def test_the_tools_of_all_servers_are_there_once_they_are_reached_and_are_made_once() -> None:
    async def scenario() -> None:
        fleet = Fleet(a=FakeServer(listed("read"), listed("one")), b=FakeServer(listed("read")))
        async with fleet.opened(definition("a"), definition("b")) as toolbox:
            assert names(toolbox) == []
            await toolbox.settled(10)
            assert names(toolbox) == ["a_read", "one", "b_read"]
            assert toolbox.tools()[0] is toolbox.tools()[0]
            message = await toolbox.tools()[1].ainvoke({"type": "tool_call", "id": "1", "name": "one", "args": {}})
            assert isinstance(message, ToolMessage) and message.content == "done"

    run(scenario())


def test_a_tool_keeps_its_name_while_the_other_server_of_that_name_is_away() -> None:
    async def scenario() -> None:
        fleet = Fleet(a=FakeServer(listed("read")), b=FakeServer(listed("read")))
        async with fleet.opened(definition("a"), definition("b")) as toolbox:
            await toolbox.settled(10)
            fleet.fakes["b"].refuses = "gone"
            fleet.fakes["b"].die()
            await until(lambda: names(toolbox) == ["a_read"])

    run(scenario())


def test_a_late_server_is_waited_for_once() -> None:
    async def scenario() -> None:
        fleet = Fleet(a=FakeServer(listed("one")), b=FakeServer(listed("two")))
        fleet.fakes["b"].silent = {"initialize"}
        async with fleet.opened(definition("a"), definition("b")) as toolbox:
            loop = asyncio.get_running_loop()
            began = loop.time()
            await toolbox.settled(10)
            assert loop.time() - began == pytest.approx(10, abs=0.1)
            assert names(toolbox) == ["one"]
            await toolbox.settled(10)
            assert loop.time() - began == pytest.approx(10, abs=0.1)

    run(scenario())


def test_only_a_closed_server_must_be_there() -> None:
    async def scenario() -> None:
        fleet = Fleet(a=FakeServer(), b=FakeServer())
        async with fleet.opened(definition("a"), definition("b", fail_mode="closed")) as toolbox:
            with pytest.raises(ToolServerUnavailable, match="'b' is unavailable: it has not been reached yet"):
                toolbox.require_closed_servers()
            await toolbox.settled(10)
            toolbox.require_closed_servers()
            for fake in fleet.fakes.values():
                fake.refuses = "gone"
                fake.die()
            await until(lambda: [server.state for server in toolbox.health()] == ["unavailable"] * 2)
            with pytest.raises(ToolServerUnavailable, match="'b' is unavailable: gone") as refused:
                toolbox.require_closed_servers()
            assert (refused.value.status, refused.value.reason) == (503, "gone")

    run(scenario())


@pytest.mark.parametrize("fail_mode", ["open", "closed"])
def test_a_call_to_a_server_that_is_gone_tells_the_model_or_ends_the_turn(fail_mode: str) -> None:
    async def scenario() -> None:
        fleet = Fleet(a=FakeServer(listed("one")))
        async with fleet.opened(definition("a", fail_mode=fail_mode)) as toolbox:
            await toolbox.settled(10)
            tool = toolbox.tools()[0]
            fleet.fakes["a"].refuses = "gone"
            fleet.fakes["a"].die()
            asked = tool.ainvoke({"type": "tool_call", "id": "1", "name": "one", "args": {}})
            if fail_mode == "closed":
                with pytest.raises(ToolServerUnavailable):
                    await asked
            else:
                message = await asked
                assert message.status == "error" and "is unavailable now: gone" in message.content

    run(scenario())


def test_an_update_keeps_unchanged_sessions_and_retires_the_others_when_they_are_let_go() -> None:
    async def scenario() -> None:
        fleet = Fleet(a=FakeServer(listed("one")), b=FakeServer(listed("two")), c=FakeServer(listed("three")))
        async with fleet.opened(definition("a"), definition("b")) as toolbox:
            await toolbox.settled(10)
            two = toolbox.tools()[1]
            with toolbox.held():
                await toolbox.update([definition("c"), definition("a")])
                await toolbox.settled(10)
                assert names(toolbox) == ["three", "one"]
                assert [server.name for server in toolbox.health()] == ["c", "a"]
                await advance(600)
                assert await two.ainvoke({}) == "done"
            await advance(1)
            assert "unavailable" in str(await two.ainvoke({}))
            assert fleet.made == ["a", "b", "c"]
            assert len(fleet.fakes["a"].connected_at) == 1

    run(scenario())


def test_a_changed_server_is_connected_anew() -> None:
    async def scenario() -> None:
        fleet = Fleet(a=FakeServer(listed("one"), listed("two")))
        async with fleet.opened(definition("a")) as toolbox:
            await toolbox.settled(10)
            await toolbox.update([definition("a", allowed_tools=["two"])])
            await toolbox.settled(10)
            assert names(toolbox) == ["two"]

    run(scenario())


def test_a_reference_to_nothing_is_refused_and_changes_nothing() -> None:
    async def scenario() -> None:
        fleet = Fleet(a=FakeServer(listed("one")), b=FakeServer())
        async with fleet.opened(definition("a")) as toolbox:
            await toolbox.settled(10)
            with pytest.raises(EntryPointError, match="env:NOTHING is not set"):
                await toolbox.update([definition("b", env={"KEY": "env:NOTHING"})])
            assert names(toolbox) == ["one"] and fleet.made == ["a"]

    run(scenario())
