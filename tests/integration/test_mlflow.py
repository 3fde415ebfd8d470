"""A real MLflow server takes the traces as they are. Needs MLflow; scripts/install-full installs it."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.manager_process import ROOT, running_manager, until, write_config

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]

PYTHON = ROOT / ".venv" / "mlflow" / "bin" / "python"
# The first trace makes MLflow read its table of prices.
DEADLINE_SECONDS = 120.0
READ = """
import json, sys, mlflow
mlflow.set_tracking_uri(sys.argv[1])
trace = mlflow.get_trace("tr-" + sys.argv[2])
print(json.dumps([
    {"id": span.span_id, "parent": span.parent_id, "name": span.name, "attributes": span.attributes}
    for span in trace.data.spans
] if trace is not None else []))
"""
ECHO = {"tool_calls": [{"name": "echo", "args": {"text": "hello"}}]}
SERVER = {
    "name": "local",
    "transport": "stdio",
    "command": sys.executable,
    "args": ["-m", "tests.fixtures.mcp_server"],
    "env": {"PYTHONPATH": str(ROOT)},
}
AGENT = {
    "id": "assistant",
    "entryPoint": "react",
    "definition": {
        "behavior": {
            "model_parameters": {"provider": "scripted", "model": "script-1", "script": [ECHO, "two words"]},
        },
        "capabilities": {"mcp_servers": [SERVER]},
    },
}
ROUTE = "POST /api/agent-services/{agent_id}/execute"
TASK = f"{ROUTE} > invoke_agent assistant"


@pytest.fixture
def mlflow(tmp_path: Path) -> Iterator[str]:
    """The URL of a server with an SQLite store."""
    log = tmp_path / "mlflow.log"
    # Only what is asked of it: its workers for background jobs need more packages.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [PYTHON, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", "0", "--workers", "1"],
            cwd=tmp_path,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def address() -> str | None:
        text = log.read_text(encoding="utf-8", errors="replace")
        assert server.poll() is None, text
        found = re.search(r"running on (http://127\.0\.0\.1:\d+)", text)
        return found[1] if found else None

    try:
        yield until(address, "MLflow listens", seconds=DEADLINE_SECONDS)
    finally:
        # Its workers with it.
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def read(url: str, trace_id: str) -> list[dict[str, Any]]:
    """The spans of a trace by MLflow's own API."""
    found = subprocess.run(
        [PYTHON, "-W", "ignore", "-c", READ, url, trace_id], capture_output=True, text=True, timeout=DEADLINE_SECONDS
    )
    assert found.returncode == 0, found.stderr
    return list(json.loads(found.stdout.splitlines()[-1]))


def tree(spans: list[dict[str, Any]]) -> list[str]:
    by_id = {span["id"]: span for span in spans}

    def path(span: dict[str, Any]) -> str:
        above = by_id.get(span["parent"])
        return span["name"] if above is None else f"{path(above)} > {span['name']}"

    return sorted(map(path, spans))


def test_a_forwarded_react_call_is_one_trace_with_its_spans_nested(mlflow: str, tmp_path: Path) -> None:
    config = write_config(tmp_path, [AGENT], tracingEndpoint=mlflow)
    environment = {"OTEL_EXPORTER_OTLP_HEADERS": "x-mlflow-experiment-id=0", "OTEL_EXPORTER_OTLP_TIMEOUT": "100"}
    with running_manager(config, environment=environment) as manager:
        manager.wait_for("assistant", "running")
        answer = manager.execute("assistant", input="say hello")
        assert answer.status_code == 200, answer.text
        trace_id = answer.headers["traceparent"].split("-")[1]
        until(lambda: _sent(manager.http), "all spans have been sent", seconds=DEADLINE_SECONDS)
        spans = read(mlflow, trace_id)
    assert tree(spans) == sorted(
        [
            ROUTE,
            TASK,
            f"{TASK} > node model",
            f"{TASK} > node model > chat script-1",
            f"{TASK} > node tools",
            f"{TASK} > node tools > execute_tool echo",
            f"{TASK} > node model",
            f"{TASK} > node model > chat script-1",
        ]
    )
    assert [span["name"] for span in spans if span["parent"] is None] == [ROUTE]
    chat = next(span["attributes"] for span in spans if span["name"] == "chat script-1")
    assert (chat["gen_ai.operation.name"], chat["gen_ai.request.model"]) == ("chat", "script-1")
    assert "say hello" not in json.dumps(spans)
    # What is no trace of ours is none of MLflow's either.
    assert read(mlflow, secrets.token_hex(16)) == []


def _sent(http: httpx.Client) -> bool:
    """The manager's span, and the seven of the agent."""
    counted = re.findall(r'(\w+)_trace_spans_total\{[^}]*outcome="exported"\} (\S+)', http.get("/metrics").text)
    return {name: float(count) for name, count in counted} == {"manager": 1.0, "agent": 7.0}
