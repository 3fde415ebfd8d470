"""Acceptance: an execute with an Idempotency-Key is run once, whoever dies meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.manager_process import ManagerProcess, running_manager, until, write_config


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagerProcess]:
    agents = [{"id": name} for name in ("plain", "streaming", "killed", "deadly")]
    with running_manager(write_config(tmp_path_factory.mktemp("keys"), agents)) as running:
        for agent in agents:
            running.wait_for(agent["id"], "running")
        yield running


def send(manager: ManagerProcess, agent_id: str, key: str, *, accept: str = "*/*", **parameters: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key, "Accept": accept}
    url = f"/api/agent-services/{agent_id}/execute"
    return manager.http.post(url, json={"parameters": parameters}, headers=headers)


def in_flight(manager: ManagerProcess, agent_id: str) -> bool:
    url = manager.agent(agent_id)["service_url"]
    return bool(httpx.get(f"{url}/status").json()["in_flight"])


def test_a_replay_is_the_first_answer_and_another_body_is_refused(manager: ManagerProcess) -> None:
    first, second = send(manager, "plain", "one", n=1), send(manager, "plain", "one", n=1)
    assert first.status_code == second.status_code == 200
    assert first.content == second.content and first.json()["task_id"]
    assert "Idempotency-Replayed" not in first.headers and second.headers["Idempotency-Replayed"] == "true"
    assert first.headers["content-type"] == second.headers["content-type"]
    assert send(manager, "plain", "one", n=2).status_code == 422
    assert send(manager, "plain", "one", accept="text/event-stream", n=1).status_code == 422
    assert send(manager, "plain", "no spaces", n=1).status_code == 400


def test_a_second_request_joins_a_stream_from_its_start(manager: ManagerProcess) -> None:
    def ask() -> httpx.Response:
        return send(manager, "streaming", "s", accept="text/event-stream", stream=5, sleep_ms=1000)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask)
        until(lambda: in_flight(manager, "streaming"), "the stream is under way")
        second = pool.submit(ask)
        assert first.result().text == second.result().text
    assert first.result().text.count("event: chunk") == 5
    assert second.result().headers["Idempotency-Replayed"] == "true"
    assert manager.agent("streaming")["tasks_total"] <= 1


def test_a_call_whose_adapter_is_killed_is_run_again(manager: ManagerProcess) -> None:
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(send, manager, "killed", "k", sleep_ms=1500)
        until(lambda: in_flight(manager, "killed"), "the task is in flight")
        os.kill(manager.agent("killed")["pid"], signal.SIGKILL)
        assert answer.result().status_code == 200
    assert send(manager, "killed", "k", sleep_ms=1500).headers["Idempotency-Replayed"] == "true"


def test_a_call_that_kills_its_adapter_is_run_twice_and_never_again(manager: ManagerProcess) -> None:
    assert send(manager, "deadly", "d", exit=3).status_code == 502
    refused = send(manager, "deadly", "d", exit=3)
    assert refused.status_code == 409 and "not known" in refused.json()["detail"]

    def exits() -> int:
        return sum(event["kind"] == "instance_exited" for event in manager.events("deadly"))

    until(lambda: exits() >= 2, "the second death is told")
    manager.wait_for("deadly", "running")
    assert exits() == 2


def test_keys_outlive_a_manager_that_is_killed(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "one"}])
    with running_manager(config) as first, ThreadPoolExecutor(1) as pool:
        first.wait_for("one", "running")
        done = send(first, "one", "done", n=1)
        lost = pool.submit(send, first, "one", "lost", sleep_ms=60_000)
        until(lambda: in_flight(first, "one"), "the task is in flight")
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        assert isinstance(lost.exception(), httpx.TransportError)
    with running_manager(config) as second:
        second.wait_for("one", "running")
        again = send(second, "one", "done", n=1)
        assert again.content == done.content and again.headers["Idempotency-Replayed"] == "true"
        # Its adapter lives: whether the task was done is nothing that this manager could know.
        refused = send(second, "one", "lost", sleep_ms=60_000)
        assert refused.status_code == 409 and "not known" in refused.json()["detail"]
