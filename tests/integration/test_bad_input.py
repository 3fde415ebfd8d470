"""Acceptance: rubbish is answered with a problem document that says what to do, and nothing is lost by it."""

from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest

from tests.integration.conftest import Fleet

EXECUTE = "/api/agent-services/{agent}/execute"
ACTION = "/api/agent-services/{agent}/action"
JSON = {"Content-Type": "application/json"}


def request(method: str, path: str, content: Any = None, **headers: str) -> tuple[str, str, Any, dict[str, str]]:
    return method, path, content, headers


CASES = {
    "execute: empty body": (400, request("POST", EXECUTE, b"")),
    "execute: not JSON": (400, request("POST", EXECUTE, b"{parameters")),
    "execute: an array": (400, request("POST", EXECUTE, b"[]")),
    "execute: no parameters": (400, request("POST", EXECUTE, b"{}")),
    "execute: parameters is text": (400, request("POST", EXECUTE, b'{"parameters": "x"}')),
    "execute: NaN": (400, request("POST", EXECUTE, b'{"parameters": {"a": NaN}}')),
    "execute: not UTF-8": (400, request("POST", EXECUTE, b'{"parameters": {"a": "\xff"}}')),
    "execute: nested beyond reason": (400, request("POST", EXECUTE, b'{"parameters": {"a": ' + b"[" * 200_000)),
    "execute: body over the limit": (413, request("POST", EXECUTE, b'{"parameters": {"a": "' + b"x" * 11_000_000)),
    "execute: unknown agent": (404, request("POST", "/api/agent-services/nobody/execute", b'{"parameters": {}}')),
    "execute: by GET": (405, request("GET", EXECUTE)),
    "execute: the agent's code fails": (500, request("POST", EXECUTE, b'{"parameters": {"fail": "on purpose"}}')),
    "action: unknown": (400, request("POST", ACTION, b'{"action": "explode"}')),
    "action: missing": (400, request("POST", ACTION, b"{}")),
    "action: wrong type of timeout": (400, request("POST", ACTION, b'{"action": "stop", "timeout_seconds": "soon"}')),
    "action: negative timeout": (400, request("POST", ACTION, b'{"action": "stop", "timeout_seconds": -1}')),
    "action: endless timeout": (400, request("POST", ACTION, b'{"action": "stop", "timeout_seconds": 1e999}')),
    "action: unknown key": (400, request("POST", ACTION, b'{"action": "stop", "timeuot_seconds": 1}')),
    "action: unknown agent": (404, request("POST", "/api/agent-services/nobody/action", b'{"action": "stop"}')),
    "logs: no number": (400, request("GET", "/api/agent-services/{agent}/logs?lines=many")),
    "logs: negative": (400, request("GET", "/api/agent-services/{agent}/logs?lines=-1")),
    "logs: unknown agent": (404, request("GET", "/api/agent-services/nobody/logs")),
    "events: no number": (400, request("GET", "/api/events?after=yesterday")),
    "one: a path in the id": (404, request("GET", "/api/agent-services/..%2f..%2fetc%2fpasswd")),
    "register: no address": (400, request("POST", "/api/agent-services/register", b'{"id": "x"}')),
    "register: not http": (
        400,
        request(
            "POST", "/api/agent-services/register", b'{"id":"x","instanceId":"i","serviceUrl":"file:///etc/passwd"}'
        ),
    ),
    "register: an id of ours from a stranger": (
        409,
        request(
            "POST",
            "/api/agent-services/register",
            b'{"id":"{agent}","instanceId":"stranger","serviceUrl":"http://127.0.0.1:1"}',
        ),
    ),
    "heartbeat: unknown instance": (
        404,
        request("POST", "/api/agent-services/heartbeat", b'{"id":"{agent}","instanceId":"nobody","status":"running"}'),
    ),
    "heartbeat: unknown status": (
        400,
        request("POST", "/api/agent-services/heartbeat", b'{"id":"{agent}","instanceId":"i","status":"happy"}'),
    ),
    "no such address": (404, request("GET", "/api/agents")),
    "a foreign Host": (421, request("GET", "/api/agent-services", Host="evil.example")),
    "a foreign Origin": (403, request("POST", ACTION, b'{"action": "stop"}', Origin="https://evil.example")),
}


@pytest.fixture(scope="module")
def agent(fleet: Fleet) -> str:
    return fleet.started()


@pytest.mark.parametrize("name", CASES)
def test_bad_input_gets_a_problem_document(fleet: Fleet, agent: str, name: str) -> None:
    status, (method, path, content, headers) = CASES[name]
    if isinstance(content, bytes):
        content = content.replace(b"{agent}", agent.encode())
    answer = fleet.manager.http.request(
        method, path.replace("{agent}", agent), content=content, headers={**JSON, **headers}
    )
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status and problem["title"] and problem["type"]
    assert len(problem["detail"]) > 20 and problem["detail"].rstrip().endswith((".", '"}', "}"))
    assert "Traceback" not in answer.text
    assert answer.headers["x-request-id"] and answer.headers["traceparent"]
    assert fleet.manager.agent(agent)["state"] == "running", "nothing was lost by it"


def test_bytes_that_are_no_http_do_not_disturb_the_manager(fleet: Fleet) -> None:
    address = httpx.URL(fleet.manager.url)
    with socket.create_connection((address.host, address.port or 80), timeout=10) as connection:
        connection.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        assert connection.recv(1024).startswith(b"HTTP/1.1 400")
    assert fleet.manager.http.get("/health").json() == {"status": "ok"}


def test_the_openapi_document_describes_every_address(fleet: Fleet) -> None:
    paths = fleet.manager.http.get("/api/openapi.json").json()["paths"]
    assert {
        "/api/agent-services",
        "/api/agent-services/register",
        "/api/agent-services/heartbeat",
        "/api/agent-services/unregister",
        "/api/agent-services/{agent_id}",
        "/api/agent-services/{agent_id}/status",
        "/api/agent-services/{agent_id}/info",
        "/api/agent-services/{agent_id}/action",
        "/api/agent-services/{agent_id}/execute",
        "/api/agent-services/{agent_id}/logs",
        "/api/events",
        "/api/openapi.json",
        "/metrics",
        "/health",
        "/ready",
    } <= set(paths)
