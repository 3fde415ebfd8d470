"""Acceptance: a manager that is killed a hundred times under load loses no agent, doubles none and leaves no stray."""

from __future__ import annotations

import operator
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from manager.supervision.fork_spawner import ForkSpawner
from tests.integration.chaos import (
    MARK,
    Assassin,
    Client,
    Mortal,
    Operator,
    Wish,
    going_on,
    marked,
    quiet_port,
    seed,
)
from tests.integration.chaos_fleet import RESTART, check_processes, first_wish, fleet, settle
from tests.integration.manager_process import ROOT, until, write_config
from tests.integration.watchman import watched

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not ForkSpawner.available(), reason="needs the fork server and /proc"),
]

KILLS = 100
KINDS = {"start", "stop", "pause", "restart", "scale"}
# Nobody tells them anything, so that at any time there is an agent that works and one that refuses to.
BYSTANDERS = {"steady": "running", "resting": "paused"}


def starts_of(directory: Path, agent_id: str) -> int:
    log = directory / "logs" / f"{agent_id}.log"
    return log.read_text(encoding="utf-8", errors="replace").count("Agent ready") if log.exists() else 0


@pytest.mark.timeout(600)
def test_a_hundred_kills_of_the_manager_lose_no_agent_double_none_and_leave_no_stray(tmp_path: Path) -> None:
    rng = random.Random(seed())
    mark = uuid.uuid4().hex
    agents = [*fleet(quiet_port()), *({"id": agent_id, "restart": RESTART} for agent_id in BYSTANDERS)]
    manager = Mortal(write_config(tmp_path, agents, queueWhileRestartingSeconds=2), mark)
    bystanders = Operator(manager, rng, {agent_id: {Wish(state, 1)} for agent_id, state in BYSTANDERS.items()})
    operators = [
        Operator(manager, random.Random(rng.random()), {agent["id"]: {first_wish(agent)} for agent in half})
        for half in (agents[:-2:2], agents[1:-2:2])
    ]
    ids = [*(agent["id"] for agent in agents), *BYSTANDERS]
    clients = [Client(manager, random.Random(rng.random()), ids) for _ in range(3)]
    assassin = Assassin(mark, random.Random(rng.random()))
    load = Load(operators, clients)
    ports = [quiet_port(), quiet_port()]
    with watched(mark):
        manager.start(ports[0])
        put_to_rest(manager)
        with going_on(*operators, *clients, assassin) as check:
            for _ in range(KILLS):
                check()
                live(manager, rng, load)
                assert manager.end(signal.SIGKILL) == -signal.SIGKILL, "it ended by itself"
                manager.start(rng.choice(ports))
            until(lambda: load.kinds >= KINDS and assassin.killed, "every kind of action was taken by some manager")
        settled = settle(manager, [*operators, bystanders])
        check_processes(mark, settled)
        for row in settled:
            assert 0 <= row["restarts"] <= starts_of(tmp_path, row["id"]), row
        assert manager.end(signal.SIGTERM) == 0
        until(lambda: not marked(mark), "nothing that any of the managers has started is left", seconds=20)


def test_a_test_that_is_killed_leaves_nothing_running() -> None:
    mark = uuid.uuid4().hex
    code = "import subprocess, sys; from tests.integration.watchman import watched\n"
    code += "with watched(sys.argv[1]): subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), MARK: mark}
    with subprocess.Popen([sys.executable, "-c", code, mark], env=environment) as test:
        until(lambda: len(marked(mark)) == 2, "the test and what it has started")
        test.kill()
    until(lambda: not marked(mark), "all is gone")


def put_to_rest(manager: Mortal) -> None:
    """Pause the bystander that is to be paused."""
    until(manager.is_ready, "it serves")
    with manager.client() as http:
        answer = http.post("/api/agent-services/resting/action", json={"action": "pause"})
    assert answer.status_code == 202, answer.text


@dataclass
class Load:
    """What the actors have achieved so far."""

    operators: list[Operator]
    clients: list[Client]

    @property
    def kinds(self) -> set[str]:
        """Of actions that were taken."""
        return {act.removesuffix(" 202") for each in self.operators for act in each.acts if act.endswith(" 202")}

    @property
    def achieved(self) -> tuple[int, int, int]:
        """Executes that were answered, executes that were refused, actions that were taken."""
        statuses = sum((client.statuses for client in self.clients), Counter())
        acts = sum((each.acts for each in self.operators), Counter())
        return statuses[200], statuses[409], sum(count for act, count in acts.items() if act.endswith(" 202"))


def live(manager: Mortal, rng: random.Random, load: Load) -> None:
    """Let a manager be for a random while: some die before they serve, most after they have done some of everything.

    However slow the machine is, so that there is load on all that survive their start.
    """
    if rng.random() < 0.7:
        until(manager.is_ready, "it has taken its agents back")
        before = load.achieved
        until(lambda: all(map(operator.gt, load.achieved, before)), "it executes, refuses and does as it is told")
        time.sleep(rng.uniform(0, 0.5))
    else:
        time.sleep(rng.uniform(0.05, 1.5))
