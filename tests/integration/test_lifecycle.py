"""Acceptance: what an operator does to agents, over HTTP, with real processes."""

from __future__ import annotations

import http.client
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import httpx
import pytest

from tests.fixtures.gate import Gate
from tests.integration.conftest import Fleet
from tests.integration.manager_process import ManagerProcess, until
from tests.integration.tasks import task_in_flight


def kinds(manager: ManagerProcess, agent_id: str) -> list[str]:
    return [event["kind"] for event in manager.events(agent_id)]


def test_a_paused_agent_answers_409_until_it_is_resumed(fleet: Fleet) -> None:
    manager, agent = fleet.manager, fleet.started()
    assert manager.act(agent, "pause", reason="maintenance")["state"] == "paused"
    refused = manager.execute(agent, hello=1)
    assert refused.status_code == 409
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["state"] == "paused" and refused.json()["agent_id"] == agent
    row = manager.act(agent, "resume")
    assert (row["state"], row["desired_state"]) == ("running", "running")
    assert manager.execute(agent, hello=1).json()["result"] == {"echo": {"hello": 1}}
    told = next(event for event in manager.events(agent) if event["reason"] == "maintenance")
    assert (told["actor"], told["data"]["action"]) == ("api", "pause")


def test_a_stop_lets_the_task_in_flight_finish_and_refuses_new_work(fleet: Fleet) -> None:
    manager, agent = fleet.manager, fleet.started()
    with task_in_flight(manager, agent, token="mine") as task:
        row = manager.act(agent, "stop")
        assert row["state"] == "stopping" and row["drain_deadline"] is not None
        assert manager.agent(agent)["state"] == "stopping"
        assert manager.execute(agent, late=True).status_code == 409
        answer = task.finish()
        assert answer.status_code == 200 and answer.json()["result"]["echo"]["token"] == "mine"
    row = manager.wait_for(agent, "stopped")
    assert (row["last_exit"]["code"], row["last_exit"]["signal"]) == (0, None)
    assert row["pid"] is None and row["desired_state"] == "stopped"
    assert manager.execute(agent).status_code == 503


def test_a_drain_that_takes_too_long_cancels_the_task_and_names_it(fleet: Fleet) -> None:
    manager, agent = fleet.manager, fleet.started()
    with task_in_flight(manager, agent) as task:
        manager.act(agent, "stop", timeout_seconds=0.5)
        assert task.answer.result().status_code in (500, 502, 503)
    row = manager.wait_for(agent, "stopped")
    assert row["last_exit"]["code"] == 0
    timed_out = next(event for event in manager.events(agent) if event["kind"] == "drain_timed_out")
    assert timed_out["data"]["in_flight"] == 1
    assert timed_out["data"]["task_id"] in manager.log(agent)


def replaced(manager: ManagerProcess, agent_id: str, before: dict[str, Any]) -> dict[str, Any]:
    """The agent's row, once another process is ready and the one it had `before` has ended."""

    def row() -> dict[str, Any] | None:
        found = manager.agent(agent_id)
        pids = [instance["pid"] for instance in found["instances"]]
        done = found["ready"] and before["pid"] not in pids and found["pid"] is not None
        return found if done and found["last_exit"] is not None else None

    return until(row, f"{agent_id} has a new process")


@pytest.mark.parametrize("strategy", ["rolling", "recreate"])
def test_a_restart_brings_a_new_process_that_is_ready_again(fleet: Fleet, strategy: str) -> None:
    manager, agent = fleet.manager, fleet.started()
    before = manager.agent(agent)
    manager.act(agent, "restart", strategy=strategy)
    after = replaced(manager, agent, before)
    assert after["restarts"] == before["restarts"] + 1
    assert after["last_exit"]["code"] == 0
    assert manager.execute(agent, again=True).status_code == 200


def test_rolling_restarts_under_load_fail_no_request(fleet: Fleet) -> None:
    manager, agent = fleet.manager, fleet.started()
    stop = threading.Event()

    def load() -> list[int]:
        statuses = []
        with httpx.Client(base_url=manager.url, timeout=45, trust_env=False) as client:
            while not stop.is_set():
                body = {"parameters": {"sleep_ms": 20}}
                statuses.append(client.post(f"/api/agent-services/{agent}/execute", json=body).status_code)
        return statuses

    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(load) for _ in range(4)]
        try:
            for _ in range(3):
                before = manager.agent(agent)
                manager.act(agent, "restart")
                replaced(manager, agent, before)
        finally:
            stop.set()
        statuses = [status for one in loads for status in one.result()]
    assert statuses and set(statuses) == {200}


def test_a_task_in_flight_outlives_the_rolling_restart_of_its_agent(fleet: Fleet) -> None:
    manager, agent = fleet.manager, fleet.started()
    before = manager.agent(agent)
    with task_in_flight(manager, agent) as task:
        manager.act(agent, "restart")
        until(lambda: (row := manager.agent(agent))["pid"] != before["pid"] and row["ready"], "the successor serves")
        assert manager.execute(agent, new=True).status_code == 200
        assert task.finish().status_code == 200
    replaced(manager, agent, before)


def test_an_agent_is_scaled_up_and_down_and_requests_are_spread(fleet: Fleet) -> None:
    manager, agent = fleet.manager, fleet.started()

    def ready() -> int:
        return sum(instance["ready"] for instance in manager.agent(agent)["instances"])

    assert manager.act(agent, "scale", instances=3)["instances_wanted"] == 3
    until(lambda: ready() == 3, "three instances are ready")
    with ThreadPoolExecutor(3) as pool, Gate() as gate:
        answers = [pool.submit(manager.execute, agent, **gate.parameters) for _ in range(3)]
        until(
            lambda: [one["in_flight"] for one in manager.agent(agent)["instances"]] == [1, 1, 1],
            "each instance works on one",
        )
        manager.act(agent, "scale", instances=1)
        gate.open()
        assert [answer.result().status_code for answer in answers] == [200] * 3
    until(lambda: len(manager.agent(agent)["instances"]) == 1, "one is left")
    assert manager.agent(agent)["state"] == "running"
    assert manager.post(agent, "action", {"action": "scale"}).status_code == 400
    assert manager.post(agent, "action", {"action": "stop", "instances": 2}).status_code == 400


def test_a_second_stop_ends_the_drain_at_once(fleet: Fleet) -> None:
    manager, agent = fleet.manager, fleet.started()
    with task_in_flight(manager, agent) as task:
        manager.act(agent, "stop")
        assert manager.agent(agent)["state"] == "stopping"
        manager.act(agent, "stop")
        manager.wait_for(agent, "stopped", seconds=20)
        assert task.answer.result().status_code in (500, 502, 503)


def test_a_request_during_a_restart_waits_and_is_answered(fleet: Fleet) -> None:
    manager, agent = fleet.manager, fleet.started()
    manager.act(agent, "restart")
    assert manager.execute(agent, patient=True).json()["result"] == {"echo": {"patient": True}}


def test_a_restart_of_a_paused_agent_leaves_it_paused(fleet: Fleet) -> None:
    manager, agent = fleet.manager, fleet.started()
    pid = manager.act(agent, "pause")["pid"]
    manager.act(agent, "restart")
    row = until(lambda: (r := manager.agent(agent))["pid"] not in (None, pid) and r["state"] == "paused" and r, "back")
    assert row["desired_state"] == "paused"
    assert manager.execute(agent).status_code == 409


def test_an_adapter_that_is_killed_comes_back_and_tells_of_signal_9(fleet: Fleet) -> None:
    manager, agent = fleet.manager, fleet.started()
    pid = manager.agent(agent)["pid"]
    os.kill(pid, signal.SIGKILL)
    row = until(lambda: (r := manager.agent(agent))["pid"] not in (None, pid) and r["ready"] and r, "a successor")
    assert (row["last_exit"]["signal"], row["last_exit"]["code"]) == (9, None)
    assert row["restarts"] == 1
    assert manager.execute(agent).status_code == 200
    assert {"instance_exited", "restart_scheduled"} <= set(kinds(manager, agent))


def test_an_adapter_that_is_killed_while_it_drains_is_stopped_and_tells_so(fleet: Fleet) -> None:
    manager, agent = fleet.manager, fleet.started()
    pid = manager.agent(agent)["pid"]
    with task_in_flight(manager, agent) as task:
        manager.act(agent, "stop")
        os.kill(pid, signal.SIGKILL)
        assert task.answer.result().status_code == 502
    row = manager.wait_for(agent, "stopped")
    assert row["last_exit"]["signal"] == 9
    assert "while it was being stopped" in row["last_exit"]["reason"]


@pytest.mark.full
def test_an_agent_that_keeps_crashing_is_failed_with_the_reason(fleet: Fleet) -> None:
    manager, agent = fleet.manager, fleet.started()
    seen: set[int] = set()

    def failed() -> bool:
        row = manager.agent(agent)
        if row["pid"] is not None and row["ready"] and row["pid"] not in seen:
            seen.add(row["pid"])
            os.kill(row["pid"], signal.SIGKILL)
        return row["state"] == "failed"

    until(failed, "the crash loop is noticed", seconds=60)
    row = manager.agent(agent)
    assert "crash loop" in row["state_reason"] and "signal 9" in row["state_reason"]
    assert manager.execute(agent).status_code == 503
    assert manager.start(agent)["ready"], "a person may start it again"


def test_a_kill_ends_the_process_at_once_and_it_stays_down(fleet: Fleet) -> None:
    manager, agent = fleet.manager, fleet.started()
    with task_in_flight(manager, agent) as task:
        row = manager.act(agent, "kill")
        assert task.answer.result().status_code == 502
    assert row["state"] == "stopped" and row["last_exit"]["signal"] == 9
    assert manager.agent(agent)["desired_state"] == "stopped"


@pytest.mark.parametrize(
    ("prepare", "action", "status"),
    [
        ([], "pause", 409),
        ([], "resume", 409),
        ([], "restart", 409),
        ([], "kill", 409),
        ([], "stop", 202),
        (["start"], "start", 202),
        (["start"], "resume", 202),
        (["start", "pause"], "pause", 202),
        (["start", "pause"], "start", 409),
    ],
)
def test_actions_that_the_state_forbids_are_refused_with_the_reason(
    fleet: Fleet, prepare: list[str], action: str, status: int
) -> None:
    manager, agent = fleet.manager, fleet.fresh()
    for step in prepare:
        manager.start(agent) if step == "start" else manager.act(agent, step)
    answer = manager.post(agent, "action", {"action": action})
    assert answer.status_code == status, answer.text
    if status == 409:
        assert agent in answer.json()["detail"] and answer.json()["state"] in answer.json()["detail"]
    manager.act(agent, "stop")


def test_slow_stops_do_not_delay_other_agents(fleet: Fleet) -> None:
    manager, slow, other = fleet.manager, fleet.started(), fleet.started()
    with task_in_flight(manager, slow) as task:
        manager.act(slow, "stop")
        manager.act(other, "stop")
        manager.wait_for(other, "stopped")
        assert manager.agent(slow)["state"] == "stopping"
        manager.act(slow, "kill")
        task.answer.result()


def test_fifty_executes_at_once_are_all_answered(fleet: Fleet) -> None:
    manager, agent = fleet.manager, fleet.started()
    barrier = threading.Barrier(50)

    def one(number: int) -> httpx.Response:
        barrier.wait()
        return manager.execute(agent, number=number, sleep_ms=50)

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(one, range(50)))
    assert [answer.json()["result"]["echo"]["number"] for answer in answers] == list(range(50))


def test_a_streamed_execute_arrives_chunk_by_chunk(fleet: Fleet) -> None:
    manager, agent = fleet.manager, fleet.started()
    with (
        Gate() as gate,
        manager.http.stream(
            "POST",
            f"/api/agent-services/{agent}/execute",
            json={"parameters": {"stream": 3, **gate.parameters}},
            headers={"Accept": "text/event-stream"},
        ) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == "event: chunk"
        service_url = manager.agent(agent)["service_url"]
        assert httpx.get(f"{service_url}/status").json()["in_flight"] == 1, "the task still runs"
        gate.open()
        names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    assert names == ["chunk", "chunk", "result"]


def test_a_client_that_hangs_up_cancels_its_task(fleet: Fleet) -> None:
    manager, agent = fleet.manager, fleet.started()
    service_url = manager.agent(agent)["service_url"]
    url = httpx.URL(manager.url)
    with closing(http.client.HTTPConnection(url.host, url.port)) as client:
        client.request("POST", f"/api/agent-services/{agent}/execute", '{"parameters": {"sleep_ms": 600000}}')
        until(lambda: httpx.get(f"{service_url}/status").json()["in_flight"] == 1, "the task is in flight")
    until(lambda: httpx.get(f"{service_url}/status").json()["in_flight"] == 0, "the task is cancelled")
    assert 'agent_tasks_total{outcome="cancelled"} 1.0' in httpx.get(f"{service_url}/metrics").text


def test_ids_go_through_to_the_agents_log_and_come_back(fleet: Fleet) -> None:
    manager, agent = fleet.manager, fleet.started()
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = manager.http.post(
        f"/api/agent-services/{agent}/execute",
        json={"parameters": {"log": 1}},
        headers={"X-Request-ID": "find-me-7", "traceparent": traceparent},
    )
    assert answer.headers["x-request-id"] == "find-me-7"
    assert answer.headers["traceparent"] == traceparent
    assert "find-me-7" in manager.log(agent) and "0af7651916cd43dd8448eb211c80319c" in manager.log(agent)


def test_the_metrics_page_has_the_managers_and_every_agents_series(fleet: Fleet) -> None:
    manager, agent = fleet.manager, fleet.started()
    manager.execute(agent)
    page = manager.http.get("/metrics").text
    assert f'agent_up{{agent_id="{agent}"}} 1' in page
    assert any(
        line.startswith("agent_tasks_total{") and f'agent_id="{agent}"' in line and 'outcome="succeeded"' in line
        for line in page.splitlines()
    )
    assert "manager_build_info" in page
