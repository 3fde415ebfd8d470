from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from manager.adapter_client import AdapterClient
from manager.errors import StateConflict
from manager.supervision import stack_inspection
from manager.supervision.stack_inspection import AgentStacks, InstanceStacks, StackInspection, parse_dump
from manager.supervision.states import AgentState
from manager.supervision.views import AgentView, InstanceView

DUMP = """Thread 0x00007f01 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 331 in wait
  File "/srv/agent.py", line 7 in work

Current thread 0x00007f02 (most recent call first):
  File "/srv/agent.py", line 12 in block
  File "/srv/with a, comma.py", line 3 in <module>
"""
REPORT = {
    "instance_id": "i-1",
    "pid": 42,
    "at": "2026-01-02T03:04:05.000Z",
    "tasks": [{"name": "one", "stack": [{"file": "a.py", "line": 1, "function": "f", "code": "await g()"}]}],
    "threads": [],
    "left_out": 3,
}


def instance(**changes: Any) -> InstanceView:
    nothing = dict.fromkeys(InstanceView.model_fields)
    given = {"instance_id": "i-1", "pid": 41, "service_url": "http://127.0.0.1:9"}
    return InstanceView.model_construct(**{**nothing, **given, **changes})


def view(*instances: InstanceView, **changes: Any) -> AgentView:
    nothing = dict.fromkeys(AgentView.model_fields)
    given = {"id": "echo", "state": AgentState.STOPPED, "sidecar": False, "instances": list(instances)}
    return AgentView.model_construct(**{**nothing, **given, **changes})


class Inspected:
    """An agent that answers as `answer` does, or writes `dump` into its log when it gets the signal."""

    def __init__(
        self, directory: Path, answer: Callable[[httpx.Request], httpx.Response], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.log = directory / "echo.log"
        self.log.write_text("before\n" + DUMP)
        self.dump = DUMP
        self.registered = True
        self.is_ours = True
        self.signalled: list[str] = []
        self.announced: list[tuple[str, str]] = []
        self._client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        monkeypatch.setattr(stack_inspection, "request_stacks", self._signal)
        monkeypatch.setattr(stack_inspection, "_LOOK_SECONDS", 0.001)

    def stacks(self, agent: AgentView) -> AgentStacks:
        process = SimpleNamespace(instance_id="i-1", registered=self.registered)
        inspection = StackInspection(
            lambda _: agent,
            lambda _: [process] if self.is_ours else [],  # type: ignore[list-item]
            AdapterClient(self._client, tokens=()),
            lambda _: self.log,
            lambda agent_id, instance_id: self.announced.append((agent_id, instance_id)),
        )
        return asyncio.run(inspection.stacks("echo"))

    def only(self) -> InstanceStacks:
        (found,) = self.stacks(view(instance())).instances
        return found

    def _signal(self, process: SimpleNamespace, announce: Callable[[str, str], None]) -> None:
        announce("echo", process.instance_id)
        self.signalled.append(process.instance_id)
        with self.log.open("a") as file:
            file.write(self.dump)


Inspect = Callable[[Callable[[httpx.Request], httpx.Response]], Inspected]


@pytest.fixture
def inspect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inspect:
    return lambda answer: Inspected(tmp_path, answer, monkeypatch)


def hang(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("", request=request)


def test_an_adapter_s_own_report_is_passed_on(inspect: Inspect) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json=REPORT)

    found = inspect(answer).only()
    assert asked == ["/stacks"]
    assert (found.source, found.pid, found.left_out, found.tasks[0].name) == ("adapter", 42, 3, "one")
    assert found.note is None


def test_of_one_that_hangs_the_stacks_come_from_its_log_newly_written(inspect: Inspect) -> None:
    inspected = inspect(hang)
    found = inspected.only()
    assert (inspected.signalled, inspected.announced) == (["i-1"], [("echo", "i-1")])
    assert (found.source, found.tasks) == ("signal", [])
    assert [thread.name for thread in found.threads] == ["0x00007f01", "0x00007f02 (the event loop's)"]
    assert [frame.function for frame in found.threads[1].stack] == ["<module>", "block"]
    assert "did not answer" in (found.note or "")


@pytest.mark.parametrize(("name", "value"), [("registered", False), ("is_ours", False)])
def test_a_process_that_might_die_of_the_signal_never_gets_it(name: str, value: bool, inspect: Inspect) -> None:
    inspected = inspect(hang)
    setattr(inspected, name, value)
    found = inspected.only()
    assert (inspected.signalled, found.source) == ([], None)
    assert "no other way" in (found.note or "")


def test_one_that_writes_nothing_either_is_said_to(inspect: Inspect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack_inspection, "DUMP_SECONDS", 0.01)
    inspected = inspect(hang)
    inspected.dump = "nothing of the sort\n"
    assert "wrote no stacks" in (inspected.only().note or "")


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (httpx.Response(404), "no GET /stacks, which is optional"),
        (httpx.Response(500), "It answered 500"),
        (httpx.Response(200, json={"pid": 1}), "not what the contract says"),
    ],
)
def test_a_foreign_program_is_a_sentence(answer: httpx.Response, note: str, inspect: Inspect) -> None:
    found = inspect(lambda _: answer).only()
    assert found.source is None
    assert note in (found.note or "")


def test_one_that_has_not_registered_is_left_alone(inspect: Inspect) -> None:
    inspected = inspect(hang)
    (found,) = inspected.stacks(view(instance(service_url=None))).instances
    assert (inspected.signalled, found.source) == ([], None)
    assert "not registered" in (found.note or "")


@pytest.mark.parametrize(
    ("agent", "why"), [(view(sidecar=True), "is a sidecar"), (view(), "is stopped and has no process")]
)
def test_where_there_is_nothing_to_look_into_it_is_said(agent: AgentView, why: str, inspect: Inspect) -> None:
    with pytest.raises(StateConflict, match=why):
        inspect(hang).stacks(agent)


def test_a_dump_is_found_between_other_lines_and_a_traceback_is_none() -> None:
    lines = [
        "Traceback (most recent call last):",
        '  File "/srv/agent.py", line 1 in f',
        "Thread 0x01 [worker] (most recent call first):",
        '  File "/srv/agent.py", line 2 in g',
        '{"event": "something else"}',
        '  File "/srv/agent.py", line 3 in h',
    ]
    (thread,) = parse_dump(lines)
    assert (thread.name, [frame.line for frame in thread.stack]) == ("worker", [2])
