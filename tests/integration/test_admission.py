"""Acceptance: who is served when there is more to do than slots, and what an adapter that does not answer costs."""

from __future__ import annotations

import http.client
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager

import httpx
import pytest

from tests.fixtures.gate import Gate
from tests.integration.manager_process import ROOT, ManagerProcess, running_manager, until, write_config

FOREIGN = [sys.executable, str(ROOT / "tests" / "integration" / "foreign_agent.py")]
SMALL = {"maxConcurrency": 1, "maxQueue": 2}


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagerProcess]:
    agents = [
        {"id": "full", **SMALL},
        {"id": "other"},
        {"id": "fair", "maxConcurrency": 1},
        {"id": "paused", **SMALL},
        {"id": "restarted", **SMALL},
        {"id": "scaled", "maxConcurrency": 1, "instances": 3},
        {"id": "mute", "command": FOREIGN},
    ]
    config = write_config(tmp_path_factory.mktemp("admission"), agents)
    with running_manager(config) as running:
        for agent in agents:
            until(lambda agent=agent: running.agent(str(agent["id"]))["ready"], f"{agent['id']} is ready")  # type: ignore[misc]
        yield running


@contextmanager
def busy(
    manager: ManagerProcess, agent_id: str, *, queued: int, running: int = 1
) -> Iterator[list[Future[httpx.Response]]]:
    """Inside, `running` requests hold every slot and `queued` more wait."""
    with ThreadPoolExecutor(running + queued) as pool, Gate() as gate:
        answers = [pool.submit(manager.execute, agent_id, **gate.parameters) for _ in range(running)]
        until(lambda: manager.agent(agent_id)["in_flight"] == running, "every slot is taken")
        answers += [pool.submit(manager.execute, agent_id, **gate.parameters) for _ in range(queued)]
        until(lambda: manager.agent(agent_id)["queued"] == queued, "the others wait")
        yield answers


def test_over_the_queue_it_is_429_and_no_other_agent_waits(manager: ManagerProcess) -> None:
    with busy(manager, "full", queued=2) as answers:
        refused = manager.execute("full")
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) >= 1
        assert "maxQueue" in refused.json()["detail"]
        assert manager.execute("other").status_code == 200
        assert manager.agent("full")["queued"] == 2
    assert [answer.result().status_code for answer in answers] == [200, 200, 200]
    until(lambda: manager.agent("full")["queued"] == 0, "the adapter has told of its empty queue")


@pytest.mark.full
def test_one_clients_flood_delays_another_by_one_turn(manager: ManagerProcess) -> None:
    order: list[str] = []

    def ask(who: str, address: str) -> None:
        url = httpx.URL(manager.url)
        client = http.client.HTTPConnection(url.host, url.port or 80, source_address=(address, 0), timeout=60)
        with closing(client):
            client.request("POST", "/api/agent-services/fair/execute", '{"parameters": {"sleep_ms": 100}}')
            assert client.getresponse().status == 200
            order.append(who)

    with busy(manager, "fair", queued=0):
        flood = [threading.Thread(target=ask, args=("flood", "127.0.0.2")) for _ in range(8)]
        for thread in flood:
            thread.start()
        until(lambda: manager.agent("fair")["queued"] == 8, "the flood waits")
        late = threading.Thread(target=ask, args=("late", "127.0.0.3"))
        late.start()
        until(lambda: manager.agent("fair")["queued"] == 9, "the latecomer waits too")
    for thread in (late, *flood):
        thread.join()
    assert order.index("late") <= 2 and len(order) == 9


@pytest.mark.full
def test_a_pause_answers_those_who_wait_at_once_with_409(manager: ManagerProcess) -> None:
    with busy(manager, "paused", queued=2) as answers:
        manager.act("paused", "pause")
        assert [answer.result().status_code for answer in answers[1:]] == [409, 409]
        assert not answers[0].done()
    assert answers[0].result().status_code == 200
    manager.act("paused", "resume")


@pytest.mark.full
def test_a_restart_keeps_the_queue_for_the_successor(manager: ManagerProcess) -> None:
    with busy(manager, "restarted", queued=2) as answers:
        manager.act("restarted", "restart", strategy="recreate")
    assert [answer.result().status_code for answer in answers] == [200, 200, 200]


@pytest.mark.full
def test_a_scale_down_under_load_loses_nothing(manager: ManagerProcess) -> None:
    with busy(manager, "scaled", queued=9, running=3) as answers:
        manager.act("scaled", "scale", instances=1)
    assert {answer.result().status_code for answer in answers} == {200}
    until(lambda: len(manager.agent("scaled")["instances"]) == 1, "two of three have gone")


@pytest.mark.full
def test_a_client_that_leaves_the_queue_frees_its_place(manager: ManagerProcess) -> None:
    with busy(manager, "full", queued=1):
        with httpx.Client(base_url=manager.url, timeout=0.3) as impatient, pytest.raises(httpx.ReadTimeout):
            impatient.post("/api/agent-services/full/execute", json={"parameters": {}})
        until(lambda: manager.agent("full")["queued"] == 1, "its place is free again")


def test_a_circuit_opens_on_an_adapter_that_keeps_hanging_up_and_closes_when_it_answers(
    manager: ManagerProcess,
) -> None:
    broken = [manager.execute("mute", hang_up=True).status_code for _ in range(5)]
    assert broken == [502] * 5
    refused = manager.execute("mute")
    assert refused.status_code == 503 and int(refused.headers["Retry-After"]) >= 1
    assert "circuit" in refused.json()["detail"]
    assert manager.agent("mute")["circuit"] == "open"
    until(lambda: manager.execute("mute").status_code == 200, "a probe finds it answering", seconds=10)
    assert manager.agent("mute")["circuit"] == "closed"
    kinds = [event["kind"] for event in manager.events("mute")]
    assert kinds.count("circuit_opened") == kinds.count("circuit_closed") == 1
