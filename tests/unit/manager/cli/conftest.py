"""A command line under test: its manager answers from a script, its clock moves only while it sleeps."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from manager.cli.main import build_app
from manager.cli.session import Session
from manager.supervision.views import AgentView

START = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
Answer = httpx.Response | Callable[[httpx.Request], httpx.Response]


class FakeClock:
    """Moves by `sleep` alone. The sleep number `interrupt_at` is where the person presses Ctrl-C."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.sleeps = 0
        self.interrupt_at: int | None = None

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        if self.sleeps == self.interrupt_at:
            raise KeyboardInterrupt
        assert self.sleeps < 1000, "the command waits forever"
        self.seconds += seconds


class FakeManager:
    """Answers each request from the answers queued for it; the last one stays."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self._answers: dict[str, list[Answer]] = {}

    def on(self, request: str, *answers: Answer | Any) -> None:
        """`on("GET /health", {...})`: anything but a response is its JSON."""
        self._answers.setdefault(request, []).extend(
            answer if isinstance(answer, httpx.Response) or callable(answer) else httpx.Response(200, json=answer)
            for answer in answers
        )

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answers = self._answers.get(f"{request.method} {request.url.path}")
        if not answers:
            return problem(404, f"There is nothing at {request.url.path}.")
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        # A response can be sent once: each sending gets its own.
        return (
            answer(request)
            if callable(answer)
            else httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        )

    def bodies(self, request: str) -> list[Any]:
        """The JSON bodies of the requests of this kind."""
        return [json.loads(sent.content) for sent in self._of(request)]

    def queries(self, request: str) -> list[dict[str, str]]:
        """The query parameters of the requests of this kind."""
        return [dict(sent.url.params) for sent in self._of(request)]

    def _of(self, request: str) -> list[httpx.Request]:
        return [sent for sent in self.requests if f"{sent.method} {sent.url.path}" == request]


class CommandLine:
    """`cli("ps", "--json")` runs the command in an empty directory with an empty environment."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environ: dict[str, str] = {}
        self.clock = FakeClock()
        self.manager = FakeManager()

    def __call__(self, *args: str, stdin: str | None = None) -> Result:
        session = Session(
            environ=self.environ,
            directory=self.directory,
            clock=self.clock,
            sleep=self.clock.sleep,
            transport=httpx.MockTransport(self.manager),
        )
        # An unexpected exception is the test's failure, not an exit status.
        return CliRunner().invoke(build_app(), list(args), input=stdin, obj=session, catch_exceptions=False)


def problem(status: int, detail: str) -> httpx.Response:
    """An RFC 9457 answer."""
    document = {"type": "about:blank", "title": "Problem", "status": status, "detail": detail}
    return httpx.Response(status, json=document, headers={"content-type": "application/problem+json"})


def refuse_connection(request: httpx.Request) -> httpx.Response:
    """What a request meets where nobody listens."""
    raise httpx.ConnectError("[Errno 111] Connection refused", request=request)


def event_stream(*events: str) -> httpx.Response:
    """Server-sent events, each given as its lines."""
    content = "".join(f"{event}\n\n" for event in events).encode()
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=content)


def agent_row(agent_id: str = "planner", **changes: Any) -> dict[str, Any]:
    """A running agent as the API lists it, but for `changes`."""
    row = {
        "id": agent_id,
        "name": agent_id,
        "description": "",
        "entry_point": "dummy",
        "managed": True,
        "sidecar": False,
        "state": "running",
        "state_reason": None,
        "desired_state": "running",
        "ready": True,
        "service_url": "http://127.0.0.1:8100",
        "pid": 123,
        "port": 8100,
        "instance_id": "one",
        "registered_at": "2026-01-02T11:59:01.000Z",
        "last_heartbeat_at": "2026-01-02T11:59:59.000Z",
        "started_at": "2026-01-02T11:59:00.000Z",
        "restarts": 0,
        "next_start_at": None,
        "last_exit": None,
        "in_flight": 0,
        "queued": 0,
        "tasks_total": 7,
        "tasks_failed": 1,
        "current_task": None,
        "drain_deadline": None,
        "stop_deadline": None,
        "instances_wanted": 1,
        "instances": None,
        "cpu_percent": None,
        "rss_bytes": None,
        "metadata": {},
        "actions": ["pause", "stop", "restart", "kill"],
    }
    assert changes.keys() <= row.keys()
    row |= changes
    if row["instances"] is None:
        row["instances"] = [instance_row(**{key: row[key] for key in INSTANCE_KEYS})] if row["instance_id"] else []
    return row


INSTANCE_KEYS = ("instance_id", "pid", "service_url", "ready", "started_at", "last_heartbeat_at", "in_flight")


def instance_row(instance_id: str, **changes: Any) -> dict[str, Any]:
    """A ready instance as the API lists it, but for `changes`."""
    row = {
        "instance_id": instance_id,
        "pid": 123,
        "service_url": "http://127.0.0.1:8100",
        "ready": True,
        "draining": False,
        "started_at": "2026-01-02T11:59:00.000Z",
        "last_heartbeat_at": "2026-01-02T11:59:59.000Z",
        "in_flight": 0,
        "cpu_percent": None,
        "rss_bytes": None,
    }
    assert changes.keys() <= row.keys()
    return row | changes


def stopped_row(agent_id: str = "planner", **changes: Any) -> dict[str, Any]:
    """An agent that was stopped."""
    stopped = {
        "state": "stopped",
        "desired_state": "stopped",
        "ready": False,
        "pid": None,
        "instance_id": None,
        "actions": ["start"],
    }
    return agent_row(agent_id, **(stopped | changes))


class Builders:
    """What the tests build answers from, as one fixture: test modules do not import each other."""

    problem = staticmethod(problem)
    refuse_connection = staticmethod(refuse_connection)
    event_stream = staticmethod(event_stream)
    row = staticmethod(agent_row)
    instance = staticmethod(instance_row)
    stopped = staticmethod(stopped_row)

    @staticmethod
    def view(**changes: Any) -> AgentView:
        return AgentView.model_validate(agent_row(**changes))

    @staticmethod
    def listing(*rows: dict[str, Any]) -> dict[str, Any]:
        return {"agents": list(rows)}

    @staticmethod
    def event(number: int = 1, **changes: Any) -> dict[str, Any]:
        event = {
            "id": number,
            "at": "2026-01-02T12:00:00.000Z",
            "kind": "state_changed",
            "message": f"event {number}",
            "agent_id": "planner",
            "instance_id": None,
            "reason": None,
            "actor": None,
            "data": {},
        }
        return event | changes


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The command line, alone in a directory."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    return CommandLine(tmp_path)


@pytest.fixture
def make() -> type[Builders]:
    """Builders of API answers."""
    return Builders
