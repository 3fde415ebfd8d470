from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agent_service.definition import AgentDefinition
from agent_service.errors import BadRequest, EntryPointError, NotReady
from agent_service.runtimes.react.changes import changed_paths
from agent_service.runtimes.react.runtime import ReactRuntime
from tests.unit.agent_service.runtimes.react.harness import FakeTools, calls, definition, running, tool


def test_new_calls_see_the_new_definition_and_calls_in_flight_finish_on_the_old_one() -> None:
    async def scenario() -> list[str]:
        begun, opened = asyncio.Event(), asyncio.Event()

        @tool
        async def gate() -> str:
            """Wait."""
            begun.set()
            await opened.wait()
            return "through"

        async with running(definition(calls("gate"), "old"), gate) as runtime:
            early = asyncio.create_task(runtime.execute({"input": "x"}))
            await begun.wait()
            answer = await runtime.reload(definition("new"))
            late = await runtime.execute({"input": "x"})
            opened.set()
            assert (answer.changed, answer.definition.revision) == (["behavior.model_parameters.script"], 1)
            return [(await early)["output"], late["output"]]

    assert asyncio.run(scenario()) == ["old", "new"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"script": []}, "script"),
        ({"script": ["x"], "output_schema": {"type": "objekt"}}, "output_schema.type"),
    ],
)
def test_a_definition_that_cannot_be_used_changes_nothing(wrong: dict[str, Any], said: str) -> None:
    async def scenario() -> str:
        fake = FakeTools()
        async with running(definition("old"), fake=fake) as runtime:
            with pytest.raises(BadRequest, match=f"nothing has changed.*{said}"):
                await runtime.reload(definition(*wrong.pop("script"), **wrong))
            assert runtime.summary().revision == 0
            return str((await runtime.execute({"input": "x"}))["output"])

    assert asyncio.run(scenario()) == "old"


def test_a_server_that_cannot_be_used_changes_nothing() -> None:
    class Refusing(FakeTools):
        async def update(self, servers: Any) -> None:
            raise EntryPointError("env:KEY is not set")

    async def scenario() -> str:
        async with running(definition("old"), fake=Refusing()) as runtime:
            with pytest.raises(BadRequest, match="env:KEY"):
                await runtime.reload(definition("new"))
            return str((await runtime.execute({"input": "x"}))["output"])

    assert asyncio.run(scenario()) == "old"


def test_servers_are_handed_on() -> None:
    async def scenario() -> list[str]:
        fake = FakeTools()
        servers = [{"name": "time", "transport": "stdio", "command": "time-server"}]
        async with running(definition("x"), fake=fake) as runtime:
            await runtime.reload(definition("x", capabilities={"mcp_servers": servers}))
        return [server.name for server in fake.servers]

    assert asyncio.run(scenario()) == ["time"]


def test_memory_can_be_switched_on(tmp_path: Path) -> None:
    async def scenario() -> str:
        async with running(definition("one", "two"), directory=tmp_path) as runtime:
            await runtime.reload(definition("one", "two", memory={"kind": "thread"}))
            await runtime.execute({"input": "x", "thread_id": "t"})
            return str((await runtime.execute({"input": "x", "thread_id": "t"}))["output"])

    assert asyncio.run(scenario()) == "two"


def test_before_it_is_open_an_agent_is_not_ready() -> None:
    runtime = ReactRuntime(definition("x"), FakeTools(), str, Path("unused"))
    for call in (runtime.execute({"input": "x"}), runtime.reload(definition("y"))):
        with pytest.raises(NotReady):
            asyncio.run(call)


def test_the_summary_has_no_secret() -> None:
    made = AgentDefinition.model_validate(
        {"behavior": {"model_parameters": {"provider": "openai", "model": "m", "api_key": "env:KEY"}}}
    )
    summary = ReactRuntime(made, FakeTools(), str, Path("unused")).summary()
    assert summary.model_dump() == {
        "model": {"provider": "openai", "model": "m", "base_url": None},
        "memory": "none",
        "servers": [],
        "structured_output": False,
        "guardrails": False,
        "revision": 0,
    }


@pytest.mark.parametrize(
    ("after", "paths"),
    [
        (definition("x"), []),
        (definition("x", system_prompt="p"), ["behavior.system_prompt"]),
        (
            definition("y", memory={"kind": "thread"}, output_schema={"type": "string"}),
            ["behavior.model_parameters.script", "memory.kind", "output_schema"],
        ),
        (
            definition("x", guardrails={"output_constraints": {"max_chars": 1}}),
            ["behavior.guardrails.output_constraints.max_chars"],
        ),
    ],
)
def test_what_differs_is_named_by_path(after: AgentDefinition, paths: list[str]) -> None:
    assert changed_paths(definition("x"), after) == paths
