"""One trace from the client to the MCP server, over real processes, into a real OTLP endpoint."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.otlp_receiver import Receiver, Span, receiving
from tests.integration.manager_process import COMMAND, ROOT, ManagerProcess, running_manager, until, write_config
from tests.integration.mcp_tools import web_server

pytestmark = pytest.mark.full

Json = dict[str, Any]
ROUTE = "POST /api/agent-services/{agent_id}/execute"
CALLER = "00f067aa0ba902b7"
SECRET = "hush-hush-hush"
STDIO: Json = {
    "name": "local",
    "transport": "stdio",
    "command": sys.executable,
    "args": ["-m", "tests.fixtures.mcp_server"],
    "env": {"PYTHONPATH": str(ROOT)},
}
# Spans are there soon; the tests wait for them all the same.
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "50"}
KEYED = {**QUICK, "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={SECRET}"}


def react(agent_id: str, *servers: Json, tool: str = "meta", **definition: Any) -> Json:
    """An agent from data that calls one tool, then is done."""
    script = [{"tool_calls": [{"name": tool, "args": {}}]}, "done now"]
    parameters = {"provider": "scripted", "model": "script-1", "script": script}
    made = {
        "behavior": {"system_prompt": "Be brief.", "model_parameters": parameters},
        "capabilities": {"mcp_servers": list(servers)},
        **definition,
    }
    return {"id": agent_id, "entryPoint": "react", "definition": made}


def called(flags: str = "01") -> tuple[str, dict[str, str]]:
    """A new trace of a client: its id, and the headers."""
    trace_id = secrets.token_hex(16)
    return trace_id, {"traceparent": f"00-{trace_id}-{CALLER}-{flags}"}


def execute(manager: ManagerProcess, agent_id: str, headers: dict[str, str] | None = None, **parameters: Any) -> Json:
    answer = manager.http.post(
        f"/api/agent-services/{agent_id}/execute", json={"parameters": parameters}, headers=headers
    )
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def tree(spans: list[Span]) -> list[str]:
    """Each span as the names from the outermost to it."""
    by_id = {span.span_id: span for span in spans}

    def path(span: Span) -> str:
        above = by_id.get(span.parent_id or "")
        return span.name if above is None else f"{path(above)} > {span.name}"

    return [path(span) for span in spans]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture(scope="module")
def manager(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagerProcess]:
    """A fleet whose traces go to the receiver; `quiet` is not traced by its definition."""
    with web_server("http") as web:
        http = web.definition().model_dump(mode="json", exclude_defaults=True)
        agents = [
            {"id": "echo"},
            react("assistant", STDIO),
            react("browser", http),
            react("quiet", STDIO, tracing={"enabled": False}),
            {"id": "toggled"},
            {"id": "restarted"},
        ]
        path = write_config(tmp_path_factory.mktemp("traced"), agents, tracingEndpoint=receiver.url)
        with running_manager(path, environment=KEYED) as running:
            for agent in agents:
                running.wait_for(str(agent["id"]), "running")
            yield running


def react_tree(agent_id: str, tool: str = "meta") -> list[str]:
    task = f"{ROUTE} > invoke_agent {agent_id}"
    return [
        ROUTE,
        task,
        f"{task} > node model",
        f"{task} > node model > chat script-1",
        f"{task} > node tools",
        f"{task} > node tools > execute_tool {tool}",
        f"{task} > node model",
        f"{task} > node model > chat script-1",
    ]


def names(paths: list[str]) -> list[str]:
    return [path.rpartition(" > ")[2] for path in paths]


def test_a_react_call_is_one_trace_from_the_client_to_the_mcp_server(
    manager: ManagerProcess, receiver: Receiver
) -> None:
    trace_id, headers = called()
    answer = execute(manager, "assistant", headers, input="private words")
    spans = receiver.trace(trace_id, *names(react_tree("assistant")))
    assert tree(spans) == react_tree("assistant")
    assert spans[0].parent_id == CALLER
    assert {span.service for span in spans[:1]} == {"agent-manager"}
    assert {span.service for span in spans[1:]} == {"assistant"}
    for span in spans:
        above = next((each for each in spans if each.span_id == span.parent_id), span)
        assert above.start <= span.start <= span.end <= above.end, span.name
    # The MCP server was told the span of the tool call that asked it.
    tool = spans[5]
    assert (tool.attributes["mcp.method.name"], tool.attributes["agent_manager.mcp.server"]) == ("tools/call", "local")
    (result,) = answer["result"]["tool_calls"]
    assert json.loads(result["result"]) == {"traceparent": f"00-{trace_id}-{tool.span_id}-01"}
    # Content stays out of it.
    assert "private" not in str(spans)
    assert "done now" not in str(spans)
    assert answer["task_id"] == spans[1].attributes["agent_manager.task_id"]
    chat = spans[3].attributes
    assert (chat["gen_ai.operation.name"], chat["gen_ai.request.model"]) == ("chat", "script-1")
    assert chat["gen_ai.usage.input_tokens"] > 0


def test_over_http_the_headers_carry_it_too(manager: ManagerProcess, receiver: Receiver) -> None:
    trace_id, headers = called()
    answer = execute(manager, "browser", headers, input="x")
    spans = receiver.trace(trace_id, *names(react_tree("browser")))
    assert tree(spans) == react_tree("browser")
    told = f"00-{trace_id}-{spans[5].span_id}-01"
    (result,) = answer["result"]["tool_calls"]
    assert json.loads(result["result"]) == {"meta": {"traceparent": told}, "header": told}


def test_a_trace_that_begins_at_the_manager_has_the_id_that_is_answered_and_logged(
    manager: ManagerProcess, receiver: Receiver
) -> None:
    answer = manager.execute("echo", hello="world")
    trace_id = answer.headers["traceparent"].split("-")[1]
    outer, inner = receiver.trace(trace_id, ROUTE, "invoke_agent echo")
    assert (outer.parent_id, inner.parent_id) == (None, outer.span_id)
    for name in ("queue_ms", "connect_ms", "agent_ms"):
        assert outer.attributes[f"agent_manager.{name}"] >= 0
    assert outer.attributes["http.response.status_code"] == 200
    assert outer.attributes["agent_manager.request_id"] == answer.headers["x-request-id"]
    access = until(
        lambda: [
            line for line in _lines(manager.directory / "logs" / "access.log") if line.get("trace_id") == trace_id
        ],
        "the access log has the request",
    )
    assert access[0]["span_id"] == outer.span_id


def test_what_the_caller_or_the_definition_does_not_want_recorded_is_not(
    manager: ManagerProcess, receiver: Receiver
) -> None:
    unwanted, headers = called("00")
    answer = execute(manager, "assistant", headers, input="x")
    # Told on to the MCP server as a trace that nobody records.
    (result,) = answer["result"]["tool_calls"]
    assert json.loads(result["result"]) == {"traceparent": f"00-{unwanted}-{CALLER}-00"}
    quiet, headers = called()
    execute(manager, "quiet", headers, input="x")
    # What is sent is sent in order: once this has come, the others would have.
    for agent_id in ("assistant", "quiet", "echo"):
        if agent_id != "quiet":
            later, headers = called()
            execute(manager, agent_id, headers, input="x")
            receiver.trace(later, ROUTE, f"invoke_agent {agent_id}")
    assert not [span for span in receiver.spans() if span.trace_id in (unwanted, quiet)]


def test_it_is_switched_at_run_time_and_a_new_process_knows(manager: ManagerProcess, receiver: Receiver) -> None:
    path = "/api/agent-services/toggled/tracing"
    assert manager.http.put(path, json={"enabled": False}).json()["overridden"]
    first = manager.agent("toggled")["service_url"]
    assert not manager.http.get(f"{first}/tracing").json()["enabled"]
    off, headers = called()
    execute(manager, "toggled", headers)
    manager.act("toggled", "restart")
    second = until(lambda: _other_than(first, manager, "toggled"), "a new process serves")
    until(lambda: not manager.http.get(f"{second}/tracing").json()["enabled"], "the new process was told")
    assert manager.http.delete(path).json()["enabled"]
    assert manager.http.get(f"{second}/tracing").json() == {
        "exporting": True,
        "enabled": True,
        "sample_rate": 1.0,
        "overridden": False,
    }
    on, headers = called()
    execute(manager, "toggled", headers)
    receiver.trace(on, ROUTE, "invoke_agent toggled")
    assert not [span for span in receiver.spans() if span.trace_id == off]


@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_switched_holds_under_the_next_manager(
    receiver: Receiver, tmp_path: Path, ended_by: signal.Signals
) -> None:
    config = write_config(tmp_path, [{"id": "a"}, {"id": "b"}], tracingEndpoint=receiver.url)
    path = "/api/agent-services/a/tracing"
    with running_manager(config, environment=KEYED) as first:
        pid = first.wait_for("a", "running")["pid"]
        was_set = first.http.put(path, json={"enabled": False}, headers={"X-Actor": "alice"}).json()
        assert (was_set["enabled"], was_set["overridden"], was_set["set_by"]) == (False, True, "alice")
        first.process.send_signal(ended_by)
        first.wait()
    with running_manager(config, environment=KEYED) as second:
        row = second.wait_for("a", "running")
        assert (row["pid"] == pid) == (ended_by == signal.SIGKILL)
        assert second.http.get(path).json() == was_set
        off, headers = called()
        execute(second, "a", headers)
        on, headers = called()
        second.wait_for("b", "running")
        execute(second, "b", headers)
        receiver.trace(on, ROUTE, "invoke_agent b")
        own = f"{row['service_url']}/tracing"
        until(lambda: not second.http.get(own).json()["enabled"], "the agent itself knows")
        assert second.http.delete(path).json()["enabled"]
        assert second.http.get(own).json()["enabled"]
        assert not [span for span in receiver.spans() if span.trace_id == off]
        assert second.stop() == 0


def test_an_agent_that_was_told_late_is_told_by_the_next_manager(receiver: Receiver, tmp_path: Path) -> None:
    """As if the manager had been killed between writing it down and telling."""
    config = write_config(tmp_path, [{"id": "a"}], tracingEndpoint=receiver.url)
    with running_manager(config, environment=KEYED) as first:
        own = f"{first.wait_for('a', 'running')['service_url']}/tracing"
        first.http.put("/api/agent-services/a/tracing", json={"enabled": False})
        assert first.http.delete(own).json()["enabled"]
        first.process.send_signal(signal.SIGKILL)
        first.wait()
    with running_manager(config, environment=KEYED) as second:
        until(lambda: not second.http.get(own).json()["enabled"], "the agent knows again")
        assert second.stop() == 0


def test_what_was_switched_is_forgotten_when_the_agent_leaves_the_config(receiver: Receiver, tmp_path: Path) -> None:
    both, path = [{"id": "a"}, {"id": "b"}], "/api/agent-services/{}/tracing"
    config = write_config(tmp_path, both, tracingEndpoint=receiver.url)
    with running_manager(config, environment=KEYED) as first:
        for each in ("a", "b"):
            first.wait_for(each, "running")
            assert first.http.put(path.format(each), json={"enabled": False}).json()["overridden"]
        write_config(tmp_path, both[1:], tracingEndpoint=receiver.url)
        assert first.http.post("/api/config/reload").status_code == 202
        until(lambda: first.http.get(path.format("a")).status_code == 404, "it has left")
        write_config(tmp_path, both, tracingEndpoint=receiver.url)
        assert first.http.post("/api/config/reload").status_code == 202
        assert not first.http.get(path.format("a")).json()["overridden"]
        assert first.http.get(path.format("b")).json()["overridden"]
        assert first.stop() == 0
    write_config(tmp_path, both[:1], tracingEndpoint=receiver.url)
    with running_manager(config, environment=KEYED) as second:
        assert second.stop() == 0
    write_config(tmp_path, both, tracingEndpoint=receiver.url)
    with running_manager(config, environment=KEYED) as third:
        assert not third.http.get(path.format("b")).json()["overridden"]
        assert third.stop() == 0


def test_the_spans_of_the_last_task_are_sent_before_the_process_ends(receiver: Receiver, tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "last"}], tracingEndpoint=receiver.url)
    environment = {"OTEL_BSP_SCHEDULE_DELAY": "3600000", "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={SECRET}"}
    with running_manager(config, environment=environment) as manager:
        manager.wait_for("last", "running")
        trace_id, headers = called()
        execute(manager, "last", headers)
        assert manager.stop() == 0
    assert tree(receiver.trace(trace_id, ROUTE, "invoke_agent last")) == [ROUTE, f"{ROUTE} > invoke_agent last"]


def test_an_endpoint_that_is_dead_costs_nobody_anything_but_a_line_and_a_count(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}"
    environment = {**QUICK, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    config = write_config(tmp_path, [{"id": "echo"}], tracingEndpoint=dead)
    with running_manager(config, environment=environment) as manager:
        manager.wait_for("echo", "running")
        for _ in range(20):
            execute(manager, "echo")
        until(lambda: _count(manager, "agent_trace_spans_total", "failed") > 0, "the agent counts failures")
        until(lambda: _count(manager, "manager_trace_spans_total", "failed") > 0, "the manager counts failures")
        for _ in range(20):
            execute(manager, "echo")
        assert manager.log("echo").count("Traces cannot be sent") == 1
        assert manager.stop() == 0
    log = (tmp_path / "logs" / "manager.log").read_text(encoding="utf-8")
    assert log.count("Traces cannot be sent") == 1


def test_what_is_wrong_with_the_settings_is_told_before_anything_starts(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "echo"}], tracingEndpoint="http://127.0.0.1:1")
    ended = subprocess.run(
        [*COMMAND, "--config", str(config), "--port", "0"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        capture_output=True,
        text=True,
        timeout=45,
    )
    assert ended.returncode == 1
    assert "'http/protobuf'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_key_of_the_endpoint_is_sent_there_and_written_nowhere(manager: ManagerProcess, receiver: Receiver) -> None:
    trace_id, headers = called()
    execute(manager, "echo", headers)
    receiver.trace(trace_id, ROUTE, "invoke_agent echo")
    assert all(SECRET in told.values() for told in receiver.headers)
    assert SECRET not in str(receiver.spans())
    for path in (path for path in (manager.directory / "logs").rglob("*") if path.is_file()):
        assert SECRET not in path.read_text(encoding="utf-8", errors="replace"), path.name


@pytest.mark.parametrize("program", ["import agent_service.__main__", "import manager.app, manager.server"])
def test_whoever_does_not_trace_does_not_import_opentelemetry(program: str) -> None:
    look = "import sys; print([name for name in sys.modules if name.partition('.')[0] == 'opentelemetry'])"
    seen = subprocess.run([sys.executable, "-c", f"{program}; {look}"], cwd=ROOT, capture_output=True, text=True)
    assert (seen.stdout.strip(), seen.returncode) == ("[]", 0), seen.stderr


def _lines(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _other_than(url: str, manager: ManagerProcess, agent_id: str) -> str | None:
    row = manager.agent(agent_id)
    return row["service_url"] if row["ready"] and row["service_url"] not in (None, url) else None


def _count(manager: ManagerProcess, name: str, outcome: str) -> float:
    lines = manager.http.get("/metrics").text.splitlines()
    return sum(
        float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}{{") and f'"{outcome}"' in line
    )
