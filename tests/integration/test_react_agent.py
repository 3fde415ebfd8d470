"""Agents from data as real processes: tools, reloads under load, threads that outlive kill -9."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.adapter import ROOT, AdapterProcess, execute, executing, in_flight, in_thread, until

Json = dict[str, Any]
FOREVER = 3_600_000
KEPT: Json = {"memory": {"kind": "thread"}}
SERVER: Json = {
    "name": "local",
    "transport": "stdio",
    "command": sys.executable,
    "args": ["-m", "tests.fixtures.mcp_server"],
    "env": {"PYTHONPATH": str(ROOT)},
}


def definition(*script: Any, **parts: Any) -> Json:
    model = {"provider": "scripted", "model": "script", "script": list(script), "retries": 0}
    return {"behavior": {"model_parameters": model}, **parts}


def calls(*names: str, **args: Any) -> Json:
    return {"tool_calls": [{"name": name, "args": args} for name in names]}


@contextmanager
def agent(directory: Path, made: Json) -> Iterator[tuple[AdapterProcess, httpx.Client]]:
    """An adapter that runs alone, its threads below `directory`."""
    path = directory / "definition.json"
    path.write_text(json.dumps(made))
    options = ("--id", "x", "--entry-point", "react", "--definition", str(path), "--drain-timeout-seconds", "0")
    environment = {"AGENT_STATE_DIRECTORY": str(directory / "threads")}
    with AdapterProcess(*options, env=environment) as adapter, adapter.ready() as client:
        yield adapter, client


def reload(client: httpx.Client, made: Json) -> Json:
    response = client.post("/reload", json={"definition": made})
    assert response.status_code == 200, response.text
    return dict(response.json())


def result(client: httpx.Client, **parameters: Any) -> Json:
    response = execute(client, **parameters)
    assert response.status_code == 200, response.text
    return dict(response.json()["result"])


def is_unfinished(client: httpx.Client, thread_id: str, roles: list[str]) -> bool:
    """The thread holds messages of these roles, and its turn goes on."""
    response = client.get(f"/threads/{thread_id}")
    if response.status_code != 200 or not response.json()["unfinished"]:
        return False
    return [message["role"] for message in response.json()["messages"]] == roles


def test_tools_of_an_mcp_server_are_called_at_the_same_time_and_a_stop_ends_what_takes_too_long(tmp_path: Path) -> None:
    made = definition(calls("echo", "echo", text="hello"), "Both said it.", capabilities={"mcp_servers": [SERVER]})
    with agent(tmp_path, made) as (adapter, client):
        answer = result(client, input="go")
        assert answer["output"] == "Both said it."
        assert [(call["status"], "hello" in call["result"]) for call in answer["tool_calls"]] == [("success", True)] * 2
        (health,) = client.get("/info").json()["definition"]["servers"]
        assert (health["name"], health["state"], health["calls_total"]) == ("local", "ready", 2)
        metrics = client.get("/metrics").text
        assert 'agent_mcp_server_up{server="local"} 1' in metrics
        assert 'agent_model_calls_total{model="script",outcome="succeeded"} 2' in metrics
        reload(client, definition({"content": "never", "delay_ms": FOREVER}))
        late = executing(client, input="go")
        adapter.signal()
        assert late().status_code == 503
        assert adapter.exit_status() == 0


def test_instances_share_threads_and_what_one_was_killed_in_another_resumes(tmp_path: Path) -> None:
    script = definition({"content": "one", "delay_ms": 500}, "two", calls("nothing"), "never", **KEPT)
    with agent(tmp_path, script) as (doomed, first), agent(tmp_path, script) as (_, second):
        # 1. A call on a thread waits for the one before it, in whatever instance.
        early = in_thread(lambda: execute(first, input="x", thread_id="t"))
        until(lambda: is_unfinished(first, "t", ["user"]), "the first call's beginning")
        assert result(second, input="x", thread_id="t")["output"] == "two"
        assert early().json()["result"]["output"] == "one"
        # 2. One instance dies in the middle of a model call, after a step with a tool.
        reload(first, definition("-", "-", calls("nothing"), {"content": "never", "delay_ms": FOREVER}, **KEPT))
        in_thread(lambda: execute(first, input="x", thread_id="t"))
        said = ["user", "assistant"] * 2 + ["user", "assistant", "tool"]
        until(lambda: is_unfinished(second, "t", said), "the last model call")
        os.kill(doomed.pid, signal.SIGKILL)
        assert doomed.exit_status() == -signal.SIGKILL
        # 3. The other goes on from the last step.
        reload(second, definition("-", "-", "-", "at last", **KEPT))
        answer = result(second, thread_id="t", resume=True)
        assert answer["output"] == "at last"
        assert [message["role"] for message in answer["messages"]] == ["assistant", "tool", "assistant"]
        assert answer["usage"]["model_calls"] == 1, "the step before the kill is not done again"
        assert execute(second, thread_id="t", resume=True).status_code == 409


def test_reloads_under_load_fail_nobody_and_a_client_that_hangs_up_ends_its_call(tmp_path: Path) -> None:
    def version(number: int) -> Json:
        # Two model calls for each answer, so that reloads come between them.
        return definition({"content": f"a{number}", **calls("nothing")}, {"content": f"b{number}", "delay_ms": 5})

    stop = threading.Event()

    def load(client: httpx.Client) -> list[list[str]]:
        answers = []
        while not stop.is_set():
            messages = result(client, input="x")["messages"]
            answers.append([message["content"] for message in messages if message["role"] == "assistant"])
        return answers

    with agent(tmp_path, version(0)) as (adapter, client), ThreadPoolExecutor(2) as pool:
        loads = [pool.submit(load, client) for _ in range(2)]
        try:
            for number in range(1, 11):
                assert reload(client, version(number))["definition"]["revision"] == number
                assert result(client, input="x")["output"] == f"b{number}"
        finally:
            stop.set()
        answers = [answer for each in loads for answer in each.result()]
        assert answers
        assert all(first[1:] == second[1:] for first, second in answers), "no turn mixes two definitions"
        assert client.get("/status").json()["tasks_failed"] == 0
        assert client.get("/info").json()["pid"] == adapter.pid

        reload(client, definition({"content": "one two", "token_delay_ms": FOREVER}))
        body = {"parameters": {"input": "go"}}
        with client.stream("POST", "/execute", json=body, headers={"Accept": "text/event-stream"}) as response:
            first = next(line for line in response.iter_lines() if line.startswith("data:"))
            assert json.loads(first.removeprefix("data:"))["text"] == "one"
        until(lambda: in_flight(client) == 0, "the call's end")
        until(
            lambda: "cancelled" in [line["outcome"] for line in adapter.events("Task finished")],
            "the line that says so in the log",
        )


@pytest.mark.full
def test_a_large_agent_starts_from_a_file_while_its_model_and_its_servers_are_down(tmp_path: Path) -> None:
    model = {"provider": "openai", "model": "m", "base_url": "http://127.0.0.1:1/v1", "retries": 0}
    server = {"name": "gone", "transport": "http", "url": "http://127.0.0.1:1/mcp"}
    prompt = "word " * 50_000
    made = {
        "behavior": {"model_parameters": model, "system_prompt": prompt},
        "capabilities": {"mcp_servers": [server]},
    }
    (tmp_path / "spec.json").write_text(json.dumps({"id": "x", "name": "x", "entryPoint": "react", "definition": made}))
    with (
        AdapterProcess(env={"AGENT_SPEC_FILE": str(tmp_path / "spec.json")}) as adapter,
        adapter.ready() as client,
    ):
        response = execute(client, input="x")
        assert (response.status_code, "cannot be reached" in response.json()["detail"]) == (503, True)
        assert int(response.headers["Retry-After"]) >= 1
        assert client.get("/health").status_code == 200
        large = definition("ok")
        large["behavior"]["system_prompt"] = prompt
        reload(client, large)
        assert result(client, input="x")["usage"]["input_tokens"] == 50_001


def test_a_definition_that_cannot_be_used_ends_the_start_with_a_sentence(tmp_path: Path) -> None:
    model = {"provider": "openai", "model": "m", "api_key": "env:NOT_SET"}
    (tmp_path / "d.json").write_text(json.dumps({"behavior": {"model_parameters": model}}))
    options = ("--id", "x", "--entry-point", "react", "--definition", str(tmp_path / "d.json"))
    with AdapterProcess(*options) as adapter:
        assert adapter.exit_status() == 78
        assert "'env:NOT_SET', which is not set" in "".join(adapter.output)
