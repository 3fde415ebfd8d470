from __future__ import annotations

import asyncio

import httpx
import pytest
from structlog.testing import capture_logs

from agent_service.definition import Tracing
from manager.adapter_client import AdapterClient
from manager.telemetry.tracing.telling import TracingTeller

URL = "http://127.0.0.1:8100"


def told(override: Tracing | None, *, is_exporting: bool = True, status: int = 200) -> list[tuple[str, str, bytes]]:
    heard = []

    def hear(request: httpx.Request) -> httpx.Response:
        heard.append((request.method, str(request.url), request.content))
        return httpx.Response(status, json={})

    async def scenario() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(hear)) as client:
            adapters = AdapterClient(client, tokens=())
            await TracingTeller(adapters, {"a": override}.get, is_exporting=is_exporting).tell("a", URL)

    asyncio.run(scenario())
    return heard


@pytest.mark.parametrize(
    ("override", "call"),
    [
        (Tracing(enabled=False), ("PUT", f"{URL}/tracing", b'{"enabled":false,"sample_rate":1.0}')),
        (None, ("DELETE", f"{URL}/tracing", b"")),
    ],
)
def test_an_adapter_is_told_what_is_set_or_that_nothing_is(
    override: Tracing | None, call: tuple[str, str, bytes]
) -> None:
    assert told(override) == [call]


def test_without_an_endpoint_nobody_is_told() -> None:
    assert told(Tracing(enabled=False), is_exporting=False) == []


def test_one_that_does_not_understand_is_logged_and_no_trouble() -> None:
    with capture_logs() as logs:
        told(None, status=404)
    assert [(entry["log_level"], entry["agent_id"]) for entry in logs] == [("info", "a")]
