"""Acceptance: twenty rolling restarts in a row, under load from every side, fail no request."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from manager.supervision.fork_spawner import ForkSpawner
from tests.integration.chaos import quiet_port
from tests.integration.manager_process import ManagerProcess, running_manager, write_config
from tests.integration.test_lifecycle import replaced

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not ForkSpawner.available(), reason="instances share a port by the fork server"),
]

RESTARTS = 20
BODY = {"parameters": {"sleep_ms": 20}}


def on_one_connection(client: httpx.Client, url: str) -> Callable[[], int]:
    """A client that keeps its connection for as long as the server does."""
    return lambda: client.post(url, json=BODY).status_code


def on_fresh_connections(_: httpx.Client, url: str) -> Callable[[], int]:
    """A client that connects anew for each request."""
    return lambda: httpx.post(url, json=BODY, timeout=45, trust_env=False).status_code


@pytest.mark.timeout(300)
@pytest.mark.parametrize("instances", [1, 3])
def test_twenty_rolling_restarts_fail_no_request(tmp_path: Path, instances: int) -> None:
    port = quiet_port()
    config = write_config(tmp_path, [{"id": "one", "port": port, "instances": instances}])
    with running_manager(config) as manager, httpx.Client(timeout=45, trust_env=False) as client:
        manager.wait_for("one", "running")
        through, direct = f"{manager.url}/api/agent-services/one/execute", f"http://127.0.0.1:{port}/execute"
        makers = (on_one_connection, on_fresh_connections)
        askers = [make(client, url) for url in (through, direct) for make in makers]
        statuses = statuses_while(askers, lambda: restart_often(manager))
        assert [set(found) for found in statuses] == [{200}] * len(askers)
        assert all(len(found) > RESTARTS for found in statuses)
        assert manager.agent("one")["restarts"] == RESTARTS


def restart_often(manager: ManagerProcess) -> None:
    for _ in range(RESTARTS):
        before = manager.agent("one")
        assert manager.act("one", "restart", strategy="rolling")
        replaced(manager, "one", before)


def statuses_while(askers: list[Callable[[], int]], work: Callable[[], None]) -> list[list[int]]:
    """What each client was answered during the work; a connection that broke is raised."""
    over = threading.Event()

    def load(ask: Callable[[], int]) -> list[int]:
        found = []
        while not over.is_set():
            found.append(ask())
        return found

    with ThreadPoolExecutor(len(askers)) as pool:
        loads = [pool.submit(load, ask) for ask in askers]
        try:
            work()
        finally:
            over.set()
        return [one.result() for one in loads]
