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
    return is_busy(manager.agent(agent_id)["service_url"])


def is_busy(url: str) -> bool:
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


@pytest.mark.full
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


def runs(manager: ManagerProcess, agent_id: str) -> int:
    url = manager.agent(agent_id)["service_url"]
    return int(httpx.get(f"{url}/status").json()["tasks_total"])


@pytest.mark.full
def test_an_answer_outlives_a_manager_that_is_killed(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "one"}])
    with running_manager(config) as first:
        first.wait_for("one", "running")
        done = send(first, "one", "done", n=1)
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
    with running_manager(config) as second:
        second.wait_for("one", "running")
        again = send(second, "one", "done", n=1)
        assert again.content == done.content and again.headers["Idempotency-Replayed"] == "true"


@pytest.mark.full
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
@pytest.mark.parametrize("ends_before", [True, False], ids=["ended meanwhile", "still running"])
def test_a_call_whose_manager_is_killed_is_answered_by_the_next_one(
    tmp_path: Path, accept: str, ends_before: bool
) -> None:
    config = write_config(tmp_path, [{"id": "one"}])
    what = {"accept": accept, "sleep_ms": 5_000, "stream": 2}
    with running_manager(config) as first, ThreadPoolExecutor(1) as pool:
        first.wait_for("one", "running")
        row = first.agent("one")
        lost = pool.submit(send, first, "one", "k", **what)
        until(lambda: in_flight(first, "one"), "the task is in flight")
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        assert isinstance(lost.exception(), httpx.TransportError)
        if ends_before:
            until(lambda: not is_busy(row["service_url"]), "the task has ended")
    with running_manager(config) as second:
        # At once, and not only when the agent is taken back.
        again, once_more = send(second, "one", "k", **what), send(second, "one", "k", **what)
        assert again.status_code == 200, again.text
        assert again.content == once_more.content
        assert once_more.headers["Idempotency-Replayed"] == "true"
        assert "X-Manager-Call" not in again.headers
        second.wait_for("one", "running")
        assert second.agent("one")["instance_id"] == row["instance_id"]
        until(lambda: runs(second, "one") == 1, "the one and only run is counted")


@pytest.mark.full
def test_a_call_whose_manager_and_adapter_are_killed_is_run_again_once(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "one"}])
    with running_manager(config) as first, ThreadPoolExecutor(1) as pool:
        first.wait_for("one", "running")
        pid = first.agent("one")["pid"]
        lost = pool.submit(send, first, "one", "k", sleep_ms=5_000)
        until(lambda: in_flight(first, "one"), "the task is in flight")
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        os.kill(pid, signal.SIGKILL)
        assert isinstance(lost.exception(), httpx.TransportError)
    with running_manager(config) as second:
        assert send(second, "one", "k", sleep_ms=5_000).status_code == 200
        assert send(second, "one", "k", sleep_ms=5_000).headers["Idempotency-Replayed"] == "true"
        until(lambda: runs(second, "one") == 1, "the second run is counted, in a process of its own")
