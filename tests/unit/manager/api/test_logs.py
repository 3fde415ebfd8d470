"""Logs over HTTP: pages, live streams that can be resumed, searches that end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from manager.api.logs import Logs
from manager.errors import BadRequest, ManagerError, UnknownAgent
from manager.supervision.fleet import Fleet
from manager.telemetry.log_reading.reader import LogReader
from manager.telemetry.logs import AgentLogs
from tests.unit.manager.fakes.clock import FakeClock

STREAM = {"accept": "text/event-stream"}


class OneAgent:
    """A fleet of echo alone, whose process is 7."""

    def agent(self, agent_id: str) -> Any:
        if agent_id != "echo":
            raise UnknownAgent(f"There is no agent {agent_id!r}.", agent_id=agent_id)
        return SimpleNamespace(instances=[SimpleNamespace(pid=7), SimpleNamespace(pid=None)])


class Served:
    """The endpoints over logs in a directory."""

    def __init__(self, directory: Path) -> None:
        self.logs = AgentLogs(directory)
        self.asked: list[tuple[str, list[int]]] = []
        reader = LogReader(self.logs)
        self.endpoints = Logs(cast("Fleet", OneAgent()), reader, self.logs, self._note, FakeClock())

    async def _note(self, agent_id: str, pids: Collection[int]) -> str | None:
        self.asked.append((agent_id, list(pids)))
        return "It was deleted." if pids else None

    def write(self, agent_id: str, *lines: str) -> None:
        with self.logs.path(agent_id).open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))

    async def get(self, path: str, query: str = "", **headers: str) -> Response:
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "GET", "query_string": query.encode(), "headers": raw}
        if path == "":
            return await self.endpoints.of_all(Request(scope))
        return await self.endpoints.of_agent(Request({**scope, "path_params": {"agent_id": path}}))

    def json(self, path: str, query: str = "") -> Any:
        return json.loads(bytes(asyncio.run(self.get(path, query)).body))


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path)


def parsed(frame: Any) -> tuple[str, str, Any]:
    """The event, its id and its data."""
    fields = dict(line.split(": ", 1) for line in frame.decode().splitlines() if line)
    return fields.get("event", ""), fields.get("id", ""), json.loads(fields.get("data", "null"))


async def frames_of(answer: Response, count: int) -> list[tuple[str, str, Any]]:
    assert isinstance(answer, StreamingResponse)
    frames = aiter(answer.body_iterator)
    assert await anext(frames) == b": keep-alive\n\n"
    async with asyncio.timeout(20):
        return [parsed(await anext(frames)) for _ in range(count)]


def test_one_agent_s_page_has_its_lines_as_texts_too_and_the_note(served: Served) -> None:
    served.write("echo", "one", "two")
    page = served.json("echo", "lines=1")
    assert (page["lines"], page["entries"][0]["message"], page["note"]) == (["two"], "two", "It was deleted.")
    assert served.asked == [("echo", [7])]


def test_all_agents_are_one_page_and_each_can_be_chosen(served: Served) -> None:
    served.write("echo", "of echo")
    served.write("gone", "of gone")
    served.write("manager", "of the manager")
    assert {each["agent_id"] for each in served.json("")["entries"]} == {"echo", "gone"}
    chosen = served.json("", "agent=echo&agent=manager&agent=echo")["entries"]
    assert sorted(each["message"] for each in chosen) == ["of echo", "of the manager"]


def test_an_agent_that_is_gone_is_known_by_its_log_and_another_is_not(served: Served) -> None:
    served.write("gone", "last words")
    assert served.json("gone")["lines"] == ["last words"]
    for path, query in (("nobody", ""), ("", "agent=nobody"), ("..", ""), ("", "agent=../../etc/passwd")):
        with pytest.raises(UnknownAgent):
            served.json(path, query)


@pytest.mark.parametrize("query", ["lines=0", "level=loud", "since=x", "regex=(", "cursor=x", "order=x"])
def test_a_wrong_parameter_is_refused(served: Served, query: str) -> None:
    served.write("echo", "one")
    with pytest.raises(BadRequest, match=query.partition("=")[0]):
        served.json("echo", query)


def test_a_stream_goes_on_where_the_last_event_was(served: Served) -> None:
    served.write("echo", "one", "two")

    async def run() -> None:
        ((event, event_id, page),) = await frames_of(await served.get("echo", "lines=1", **STREAM), 1)
        assert (event, [each["message"] for each in page["entries"]]) == ("lines", ["two"])
        assert event_id == page["newer"]
        served.write("echo", "three")
        resumed = await served.get("echo", "lines=1&cursor=ignored", **STREAM, **{"last-event-id": event_id})
        ((_, _, page),) = await frames_of(resumed, 1)
        assert [each["message"] for each in page["entries"]] == ["three"]

    asyncio.run(run())


def test_a_search_ends_with_where_it_has_come_to(served: Served) -> None:
    served.write("echo", *(f"line {number}" for number in range(5)))

    async def run() -> None:
        answer = await served.get("", "follow=false&text=LINE&lines=3", **STREAM)
        found, end = await frames_of(answer, 2)
        assert [each["message"] for each in found[2]["entries"]] == ["line 2", "line 3", "line 4"]
        assert (end[0], end[2]["found"]) == ("end", 3) and end[2]["older"]

    asyncio.run(run())


@pytest.mark.parametrize("query", ["follow=false&regex=(", "cursor=x"])
def test_what_goes_wrong_in_a_stream_is_its_last_event(served: Served, query: str) -> None:
    served.write("echo", "one")

    async def run() -> None:
        ((event, _, problem),) = await frames_of(await served.get("echo", query, **STREAM), 1)
        assert (event, problem["status"]) == ("problem", 400)

    asyncio.run(run())


def test_a_stream_that_is_neither_live_nor_a_search_is_refused(served: Served) -> None:
    with pytest.raises(ManagerError, match=r"^follow is 'maybe'"):
        asyncio.run(served.get("echo", "follow=maybe", **STREAM))
