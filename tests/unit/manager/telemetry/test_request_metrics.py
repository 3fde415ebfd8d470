from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from prometheus_client import generate_latest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from manager.telemetry.manager_metrics import ManagerMetrics
from manager.telemetry.request_metrics import RequestMetrics, describe_request
from tests.unit.manager.telemetry.fleet import FixedClock


class Served:
    """An application behind the middleware, and what was counted."""

    def __init__(self) -> None:
        self.metrics = ManagerMetrics(version="1")
        self.clock = FixedClock()
        self.lines: list[dict[str, Any]] = []
        self.app = Starlette(
            routes=[
                Route("/agents/{agent_id}", self.agent, methods=["GET", "POST"]),
                Route("/stream", self.stream),
                Route("/events/{agent_id}", self.events),
                Route("/fails", self.fails),
            ],
            middleware=[Middleware(RequestMetrics, metrics=self.metrics, clock=self.clock, log=self.lines.append)],
        )

    async def agent(self, request: Request) -> Response:
        self.clock.seconds += 2
        return PlainTextResponse("ok")

    async def stream(self, request: Request) -> Response:
        async def chunks() -> object:
            yield b"a"
            self.clock.seconds += 3600
            yield b"b"

        return StreamingResponse(chunks())  # type: ignore[arg-type]

    async def events(self, request: Request) -> Response:
        async def chunks() -> object:
            yield self.streams().encode()
            if request.path_params["agent_id"] == "broken":
                raise ValueError("broken")

        return StreamingResponse(chunks(), media_type="text/event-stream")  # type: ignore[arg-type]

    async def fails(self, request: Request) -> Response:
        raise ValueError("broken")

    def request(self, method: str, path: str) -> httpx.Response:
        async def answered() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                return await client.request(method, path)

        return asyncio.run(answered())

    def streams(self) -> str:
        """The lines of those that are open."""
        return "".join(line for line in self.counted().splitlines(True) if line.startswith("manager_open_streams{"))

    def counted(self) -> str:
        return generate_latest(self.metrics.registry).decode()


def requests_line(method: str, route: str, status_class: str, count: float = 1.0) -> str:
    labels = f'method="{method}",route="{route}",status_class="{status_class}"'
    return f"manager_http_requests_total{{{labels}}} {count}\n"


def test_requests_are_counted_by_route_not_by_path() -> None:
    served = Served()
    served.request("GET", "/agents/a")
    served.request("GET", "/agents/b")
    counted = served.counted()
    assert requests_line("GET", "/agents/{agent_id}", "2xx", 2.0) in counted
    assert 'duration_seconds_sum{method="GET",route="/agents/{agent_id}"} 4.0' in counted


def test_paths_and_methods_from_outside_make_no_labels() -> None:
    served = Served()
    served.request("GET", "/no/such/path")
    served.request("BREW", "/agents/a")
    counted = served.counted()
    assert requests_line("GET", "unmatched", "4xx") in counted
    assert requests_line("other", "/agents/{agent_id}", "4xx") in counted
    assert "such" not in counted and "BREW" not in counted


def test_the_duration_of_a_stream_ends_where_its_answer_begins() -> None:
    served = Served()
    assert served.request("GET", "/stream").text == "ab"
    assert 'duration_seconds_sum{method="GET",route="/stream"} 0.0' in served.counted()


def test_a_stream_of_events_is_open_until_it_ends_and_others_are_none() -> None:
    served = Served()
    open_one = 'manager_open_streams{route="/events/{agent_id}"} 1.0\n'
    assert served.request("GET", "/events/a").text == open_one
    assert served.streams() == open_one.replace("1.0", "0.0")
    served.request("GET", "/stream")
    assert "/stream" not in served.streams()


def test_a_stream_that_breaks_off_is_not_open_any_more() -> None:
    served = Served()
    with pytest.raises(ValueError, match="broken"):
        served.request("GET", "/events/broken")
    assert served.streams() == 'manager_open_streams{route="/events/{agent_id}"} 0.0\n'


def test_an_exception_counts_as_500_and_goes_on() -> None:
    served = Served()
    with pytest.raises(ValueError, match="broken"):
        served.request("GET", "/fails")
    assert requests_line("GET", "/fails", "5xx") in served.counted()


def test_an_exception_that_nobody_answers_counts_once() -> None:
    served = Served()

    async def broken(*_: object) -> None:
        raise ValueError("broken")

    middleware = RequestMetrics(broken, metrics=served.metrics, clock=served.clock, log=served.lines.append)
    with pytest.raises(ValueError, match="broken"):
        asyncio.run(middleware({"type": "http", "method": "GET", "path": "/"}, None, None))  # type: ignore[arg-type]
    assert requests_line("GET", "unmatched", "5xx") in served.counted()


def test_each_request_is_one_line_of_the_access_log_without_its_query() -> None:
    served = Served()
    served.request("GET", "/agents/a?token=secret")
    (line,) = served.lines
    assert (line["method"], line["path"], line["status"], line["bytes"]) == ("GET", "/agents/a", 200, 2)
    assert line["duration_ms"] == 2000
    assert str(line["timestamp"]).endswith("Z")
    assert "secret" not in str(line)


def test_an_endpoint_adds_what_it_knows_to_the_line() -> None:
    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        describe_request(scope, agent_id="planner")
        await PlainTextResponse("ok")(scope, receive, send)

    served = Served()
    served.app = RequestMetrics(endpoint, metrics=served.metrics, clock=served.clock, log=served.lines.append)  # type: ignore[assignment]
    served.request("GET", "/")
    assert served.lines[0]["agent_id"] == "planner"


@pytest.mark.parametrize(("status", "lines"), [(200, 0), (404, 1)])
def test_a_heartbeat_is_logged_only_when_it_is_refused(status: int, lines: int) -> None:
    served = Served()
    served.app = RequestMetrics(  # type: ignore[assignment]
        PlainTextResponse("", status), metrics=served.metrics, clock=served.clock, log=served.lines.append
    )
    served.request("POST", "/api/agent-services/heartbeat")
    assert len(served.lines) == lines
