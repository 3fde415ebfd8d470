"""An adapter without a manager: it serves agents of every kind, and its log has everything."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.adapter import AGENTS, AdapterProcess, execute, executing, in_flight, in_thread, leave, until

GRAPHS = "tests.fixtures.graphs"


def agent(name: str, *argv: str, **options: Any) -> AdapterProcess:
    module = GRAPHS if name in ("graph", "runnable") else AGENTS
    return AdapterProcess("--id", "x", "--entry-point", f"{module}:{name}", *argv, **options)


@pytest.mark.parametrize(
    ("name", "parameters", "result"),
    [
        ("echo", {"x": 1}, {"hello": {"x": 1}}),
        ("plain", {"x": 1}, {"thread": True, "x": 1}),
        ("counter", {"to": 3}, [0, 1, 2]),
        ("plain_counter", {"to": 3}, [0, 1, 2]),
        ("greeter", {"name": "Ada"}, "hello Ada"),
        ("graph", {"number": 3}, {"number": 7, "trail": ["double", "increment"]}),
        ("runnable", {"text": "abc"}, "ABC"),
    ],
)
def test_an_agent_of_any_kind_answers(name: str, parameters: dict[str, Any], result: Any) -> None:
    with agent(name) as adapter, adapter.ready() as client:
        assert client.get("/health").json() == {"status": "ok"}
        info = client.get("/info").json()
        assert (info["id"], info["pid"]) == ("x", adapter.pid)
        assert execute(client, **parameters).json()["result"] == result
        adapter.signal()
        assert adapter.exit_status() == 0


def test_a_light_agent_never_imports_langgraph(tmp_path: Path) -> None:
    (tmp_path / "nosy.py").write_text(
        "import sys\ndef agent(parameters): return sorted({'langgraph', 'langchain_core', 'httpx'} & set(sys.modules))"
    )
    with AdapterProcess("--id", "x", "--entry-point", "nosy:agent", cwd=tmp_path) as adapter, adapter.ready() as client:
        assert execute(client).json()["result"] == []


def test_synchronous_code_leaves_the_event_loop_free() -> None:
    with agent("sleeper", "--drain-timeout-seconds", "0") as adapter, adapter.ready() as client:
        executing(client, seconds=30)
        assert client.get("/health", timeout=10).status_code == 200


def test_fifty_synchronous_tasks_run_at_once() -> None:
    with agent("sleeper") as adapter, adapter.ready() as client, ThreadPoolExecutor(50) as pool:
        began = time.monotonic()
        responses = list(pool.map(lambda _: execute(client, seconds=1), range(50)))
        assert [response.status_code for response in responses] == [200] * 50
        assert len({response.json()["task_id"] for response in responses}) == 50
        assert time.monotonic() - began < 20


@pytest.mark.parametrize("name", [None, "patient_counter"])
def test_a_stream_arrives_chunk_by_chunk(name: str | None) -> None:
    parameters = {"stream": 2, "sleep_ms": 600_000} if name is None else {"to": 1000, "seconds": 0.2}
    with (
        agent(name) if name else AdapterProcess("--id", "x", "--drain-timeout-seconds", "0") as adapter,
        adapter.ready() as client,
    ):
        with client.stream(
            "POST", "/execute", json={"parameters": parameters}, headers={"Accept": "text/event-stream"}
        ) as response:
            assert response.headers["content-type"] == "text/event-stream"
            lines = response.iter_lines()
            assert next(lines) == "event: chunk"
            assert next(lines) == ("data: 0" if name else 'data: {"chunk":0}')
            assert in_flight(client) == 1
        until(lambda: in_flight(client) == 0, "the end of the task whose client has gone")
        assert client.get("/status").json()["tasks_failed"] == 0


def test_a_client_that_goes_away_cancels_its_task() -> None:
    with agent("stubborn") as adapter, adapter.ready() as client:
        leave(client)
        line = adapter.wait_for("Task finished")
        assert line["outcome"] == "cancelled"
        assert adapter.events("Cleaned up")[0]["task_id"] == line["task_id"]
        assert 'agent_tasks_total{outcome="cancelled"} 1.0' in client.get("/metrics").text


@pytest.mark.full
def test_a_thread_whose_client_has_gone_keeps_its_slot_until_it_ends() -> None:
    with agent("sleeper", "--max-concurrency", "1", "--max-queue", "0") as adapter, adapter.ready() as client:
        leave(client, seconds=4)
        assert in_flight(client) == 1
        refused = execute(client, seconds=0)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        until(lambda: in_flight(client) == 0, "the end of the thread")
        assert execute(client, seconds=0).status_code == 200


def test_an_agent_that_raises_keeps_serving_and_its_traceback_is_in_the_log_only() -> None:
    with agent("broken") as adapter, adapter.ready() as client:
        response = execute(client)
        assert response.status_code == 500
        assert "LookupError: the answer is missing" in response.json()["detail"]
        assert "Traceback" not in response.text
        line = adapter.wait_for("Task finished")
        assert (line["level"], line["outcome"]) == ("error", "failed")
        assert "agents.py" in line["exception"]
        assert line["request_id"] == response.headers["x-request-id"]
        assert execute(client).status_code == 500


def test_an_agent_that_calls_exit_fails_its_task_only() -> None:
    with agent("leaver") as adapter, adapter.ready() as client:
        assert "SystemExit: 7" in execute(client).json()["detail"]
        assert client.get("/health").status_code == 200


def test_the_dummy_can_end_its_process() -> None:
    with AdapterProcess("--id", "x") as adapter, adapter.ready() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            execute(client, exit=7)
        assert adapter.exit_status() == 7


def test_whatever_a_task_says_is_in_the_log_with_its_ids() -> None:
    with agent("talker") as adapter, adapter.ready() as client:
        headers = {"X-Request-ID": "req-1", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
        task = client.post("/execute", json={"parameters": {}}, headers=headers).json()["task_id"]
        for event in ("a warning of a library, formatted", "A line from a thread", "Task finished"):
            line = adapter.wait_for(event)
            assert (line["request_id"], line["trace_id"], line["task_id"]) == ("req-1", "a" * 32, task)
            assert (line["agent_id"], line["instance_id"][:2]) == ("x", "x-")
        assert "a print of the agent\n" in adapter.output


def test_without_a_log_file_logs_gives_the_lines_in_memory() -> None:
    with AdapterProcess("--id", "x") as adapter, adapter.ready() as client:
        execute(client, log=1500)
        lines = client.get("/logs", params={"lines": 10_000}).json()["lines"]
        assert len(lines) == 1000
        assert json.loads(lines[-1])["event"] == "Task finished"
        assert [json.loads(line)["number"] for line in client.get("/logs?lines=3").json()["lines"][:2]] == [1499, 1500]


def test_a_log_file_gets_lines_prints_and_the_traceback_of_a_dying_process(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("an older line\n")
    with agent("talker", "--log-file", str(path)) as adapter, adapter.ready() as client:
        execute(client)
        lines = client.get("/logs?lines=10000").json()["lines"]
        assert lines[0] == "an older line"
        assert "a print of the agent" in lines
        assert any("A line from a thread" in line for line in lines)
        until(lambda: "a print of the agent\n" in adapter.output, "the print")


def test_a_managed_process_writes_its_log_once(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    env = {"AGENT_SPEC": json.dumps({"id": "x", "name": "X"}), "AGENT_LOG_FILE": str(path)}
    with AdapterProcess(env=env) as adapter, adapter.ready() as client:
        assert client.get("/logs").json() == {"lines": []}
        path.write_bytes(b"from the manager's file\n\xff\n")
        assert client.get("/logs?lines=2").json() == {"lines": ["from the manager's file", "\ufffd"]}


def test_a_token_is_demanded_and_never_logged() -> None:
    env = {"MANAGER_TOKEN": "s3cret-token", "MANAGER_TOKEN_PREVIOUS": "older-token"}
    with AdapterProcess("--id", "x", env=env) as adapter, adapter.ready() as client:
        assert execute(client).status_code == 401
        for token in env.values():
            client.headers["X-Manager-Token"] = token
            assert execute(client, fail=f"leaks {token}").status_code == 500
        adapter.signal()
        assert adapter.exit_status() == 0
        assert "leaks [redacted]" in "".join(adapter.output)
        assert not any(token in line for line in adapter.output for token in env.values())


def test_no_secret_gets_into_the_log_by_a_print(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    # Put together here, so that no scanner takes it for a real one.
    secrets = ["s3cret-of-env", "ghp_" + "a" * 36]
    env = {"DB_PASSWORD": secrets[0], "AGENT_SECRETS": "DB_PASSWORD"}
    with agent("blabber", "--log-file", str(path), env=env) as adapter, adapter.ready() as client:
        for secret in secrets:
            assert execute(client, what=secret).json()["result"] == "said"
        adapter.signal()
        assert adapter.exit_status() == 0
    for text in (path.read_text(), "".join(adapter.output)):
        for way in ("print", "buffer", "stderr", "UserWarning: warning", "ValueError:"):
            assert text.count(f"{way} [redacted]\n") == len(secrets), text
        assert not any(secret in text for secret in secrets)


def test_tasks_beyond_the_slots_wait_their_turn() -> None:
    with agent("sleeper", "--max-concurrency", "1", "--max-queue", "1") as adapter, adapter.ready() as client:
        running = executing(client, seconds=2)
        waiting = in_thread(lambda: execute(client, seconds=0))
        until(lambda: client.get("/status").json()["queued"] == 1, "the queue")
        assert execute(client, seconds=0).status_code == 429
        assert running().json()["result"] == waiting().json()["result"] == "slept"


def _raw(client: httpx.Client, *parts: bytes) -> bytes:
    """Send the parts, as far as the adapter takes them, and read until it closes."""
    with socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=30) as connection:
        received = bytearray()

        def read() -> None:
            while data := connection.recv(65536):
                received.extend(data)

        reader = threading.Thread(target=read)
        reader.start()
        for part in parts:
            connection.sendall(part)
        reader.join(30)
        return bytes(received)


HEAD = b"POST /execute HTTP/1.1\r\nHost: localhost\r\n"


def test_a_declared_body_over_the_limit_is_answered_although_the_client_goes_on_sending() -> None:
    with AdapterProcess("--id", "x") as adapter, adapter.ready() as client:
        size = 16 * 1024 * 1024
        answer = _raw(client, HEAD + b"Content-Length: %d\r\n\r\n" % size, *[b"x" * 65536] * (size // 65536))
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"application/problem+json" in answer and b"maxBodyBytes" in answer
        assert b"connection: close" in answer.lower()


def test_a_body_without_a_length_is_answered_when_it_passes_the_limit() -> None:
    with AdapterProcess("--id", "x") as adapter, adapter.ready() as client:
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        answer = _raw(client, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 200, b"0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert client.get("/health").status_code == 200


def test_what_is_no_http_does_no_harm() -> None:
    with AdapterProcess("--id", "x") as adapter, adapter.ready() as client:
        assert _raw(client, b"\x16\x03\x01\x00\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        assert _raw(client, b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 421 ")
        half = socket.create_connection((client.base_url.host, client.base_url.port or 80))
        half.sendall(HEAD + b'Content-Length: 100\r\n\r\n{"para')
        half.close()
        assert execute(client).status_code == 200
