from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
import structlog
from structlog.testing import capture_logs

from agent_service.http.guards import allowed_names, host_name
from agent_service.runtimes.protocol import Emit, Parameters
from tests.unit.agent_service.harness import Adapter, FunctionRuntime

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def ask(path: str = "/health", *, method: str = "GET", headers: Any = None, **options: Any) -> httpx.Response:
    host = options.pop("host", "127.0.0.1:8100")

    async def scenario() -> httpx.Response:
        async with Adapter(lines=[], **options).client(host) as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/health", "/nope", "/execute", "/logs?lines=x"])
def test_the_callers_ids_come_back_on_every_answer(path: str) -> None:
    response = ask(path, headers={"X-Request-ID": "req-1", "traceparent": TRACEPARENT})
    assert response.headers["x-request-id"] == "req-1"
    assert response.headers["traceparent"] == TRACEPARENT


def test_missing_ids_are_made_anew_for_each_request() -> None:
    first, second = ask(), ask()
    assert len(first.headers["x-request-id"]) == 32
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert first.headers["traceparent"] != second.headers["traceparent"]


def test_the_ids_are_bound_for_every_log_line_of_the_task() -> None:
    seen: dict[str, Any] = {}

    async def work(parameters: Parameters, emit: Emit | None) -> None:
        seen.update(structlog.contextvars.get_contextvars())

    async def scenario() -> None:
        adapter = Adapter(FunctionRuntime(work))
        response = await adapter.execute(headers={"X-Request-ID": "req-1", "traceparent": TRACEPARENT})
        assert seen == {
            "request_id": "req-1",
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
            "task_id": response.json()["task_id"],
        }

    asyncio.run(scenario())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1", "LOCALHOST", "[::1]:8100", "[::1]", "agent.internal:80"])
def test_our_own_hosts_may_pass(host: str) -> None:
    assert ask(headers={"Host": host}, bound_host="agent.internal").status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.", "", "[::1", "10.0.0.1", "a@localhost"]
)
def test_other_hosts_are_misdirected(host: str) -> None:
    response = ask(headers={"Host": host})
    assert response.status_code == 421
    assert "use one of 127.0.0.1, [::1], localhost" in response.json()["detail"]
    assert response.headers["x-request-id"]


def test_two_host_headers_are_misdirected() -> None:
    assert ask(headers=[("Host", "localhost"), ("Host", "evil.example")]).status_code == 421


def test_bound_to_every_address_literal_addresses_may_pass_and_foreign_names_may_not() -> None:
    assert ask(headers={"Host": "10.1.2.3:80"}, bound_host="0.0.0.0").status_code == 200
    assert ask(headers={"Host": "[fe80::1]:80"}, bound_host="::").status_code == 200
    assert ask(headers={"Host": "evil.example"}, bound_host="0.0.0.0").status_code == 421


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8100", 200),
        ("http://localhost:8000", 403),
        ("https://evil.example", 403),
        ("null", 403),
        ("http://[", 403),
    ],
)
def test_pages_of_other_sites_may_not_send_requests(origin: str, status: int) -> None:
    assert ask(headers={"Origin": origin}).status_code == status


@pytest.mark.parametrize(
    ("authority", "name"),
    [("A:1", "a"), ("a", "a"), ("[::1]:1", "[::1]"), ("[::1]", "[::1]"), ("a:", "a"), ("a:b", "a:b"), ("", "")],
)
def test_the_port_is_cut_from_the_host(authority: str, name: str) -> None:
    assert host_name(authority) == name


def test_an_ipv6_host_is_allowed_in_brackets() -> None:
    assert "[fd00::1]" in allowed_names("fd00::1")[0]


@pytest.mark.parametrize(("path", "method"), [("/logs", "GET"), ("/action", "POST"), ("/execute", "POST")])
@pytest.mark.parametrize("given", [None, "", "wrong", "s3cre", "s3cret2", "ünï"])
def test_a_missing_or_wrong_token_is_a_401_that_names_the_header(path: str, method: str, given: str | None) -> None:
    headers = {} if given is None else {"X-Manager-Token": given.encode()}
    response = ask(path, method=method, tokens=("s3cret", "older"), headers=headers)
    assert response.status_code == 401
    assert "X-Manager-Token" in response.json()["detail"]
    assert "s3cret" not in response.text.replace("s3cret2", "")


@pytest.mark.parametrize("token", ["s3cret", "older"])
def test_both_valid_tokens_open_the_door(token: str) -> None:
    response = ask("/logs", tokens=("s3cret", "older"), headers={"X-Manager-Token": token})
    assert response.status_code == 200


@pytest.mark.parametrize("path", ["/health", "/info", "/status", "/metrics"])
def test_reading_addresses_need_no_token(path: str) -> None:
    assert ask(path, tokens=("s3cret",)).status_code == 200


def test_a_bug_in_the_adapter_is_a_problem_with_ids_and_a_traceback_in_the_log_only() -> None:
    async def scenario() -> tuple[httpx.Response, Any]:
        adapter = Adapter()
        adapter.tasks.report = lambda: 1 / 0  # type: ignore[method-assign, assignment, return-value]
        with capture_logs() as lines:
            async with adapter.client() as client:
                return await client.get("/status", headers={"X-Request-ID": "req-1"}), lines

    response, lines = asyncio.run(scenario())
    assert response.status_code == 500
    assert response.headers["x-request-id"] == "req-1"
    assert response.headers["content-type"] == "application/problem+json"
    assert "ZeroDivisionError" not in response.text
    assert [(line["event"], line["exc_info"]) for line in lines] == [("Request failed", True)]
