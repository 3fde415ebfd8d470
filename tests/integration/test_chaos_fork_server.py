"""Acceptance: a fork server that is killed fifty times under load loses no agent, doubles none and leaves no stray."""

from __future__ import annotations

import os
import random
import signal
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from manager.supervision.fork_spawner import ForkSpawner
from tests.integration.chaos import Client, Mortal, Operator, Wish, going_on, marked, quiet_port, seed
from tests.integration.chaos_fleet import check_processes, first_wish, fleet, settle
from tests.integration.manager_process import until, write_config
from tests.integration.spawning import lives, pid_at
from tests.integration.watchman import watched

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not ForkSpawner.available(), reason="needs the fork server and /proc"),
]

KILLS = 50
STEADY = "steady"


def one_dies(path: Path, rng: random.Random) -> None:
    """Kill the server there, as soon as there is one, at any moment of its life."""

    def listening() -> int | None:
        try:
            return pid_at(path)
        except OSError:
            return None

    pid = until(listening, "starts go on, and one of them makes a server")
    time.sleep(rng.uniform(0, 1.2))
    os.kill(pid, signal.SIGKILL)
    until(lambda: not lives(pid), "the server's end")


def serves(manager: Mortal) -> int:
    """The process of the agent that nobody touches, which answers by way of the manager and by itself."""
    with manager.client() as http:
        answer = http.post(f"/api/agent-services/{STEADY}/execute", json={"parameters": {"token": 1}})
        assert answer.status_code == 200, answer.text
        row: dict[str, Any] = http.get(f"/api/agent-services/{STEADY}").json()
    assert (row["state"], row["restarts"]) == ("running", 0)
    assert httpx.get(f"{row['service_url']}/health", trust_env=False, timeout=30).status_code == 200
    return int(row["pid"])


@pytest.mark.timeout(420)
def test_fifty_kills_of_the_fork_server_lose_no_agent_double_none_and_leave_no_stray(tmp_path: Path) -> None:
    rng = random.Random(seed())
    mark = uuid.uuid4().hex
    agents = fleet(quiet_port())
    config = write_config(tmp_path, [*agents, {"id": STEADY}])
    manager = Mortal(config, mark)
    operators = [
        Operator(manager, random.Random(rng.random()), {agent["id"]: {first_wish(agent)} for agent in half})
        for half in (agents[::2], agents[1::2])
    ]
    clients = [Client(manager, random.Random(rng.random()), [agent["id"] for agent in agents]) for _ in range(3)]
    bystander = Operator(manager, random.Random(), {STEADY: {Wish("running", 1)}})
    with watched(mark):
        manager.start(quiet_port())
        until(
            lambda: all(row["ready"] for row in manager.agents() if row["id"] == STEADY) and manager.agents(), "ready"
        )
        steady = serves(manager)
        with going_on(*operators, *clients) as check:
            for _ in range(KILLS):
                check()
                one_dies(tmp_path / ".state" / "forkserver" / "light.sock", rng)
                assert serves(manager) == steady, "it serves on, in the very process"
        settled = settle(manager, [*operators, bystander])
        check_processes(mark, settled)
        answers = sum((client.statuses for client in clients), Counter())
        assert answers[200] > KILLS and answers[409] and answers[502], "there was load, and there were crashes"
        assert {"start 202", "stop 202", "restart 202", "scale 202"} <= set(operators[0].acts + operators[1].acts)
        assert manager.end(signal.SIGTERM) == 0
        until(lambda: not marked(mark), "nothing that the manager and its fork servers have started is left")
