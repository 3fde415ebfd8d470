"""Acceptance: a thousand random steps of a real fleet against a model of what was wanted."""

from __future__ import annotations

import math
import os
import signal
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import FlakyFailure
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from agent_service.descendants import kill
from manager.supervision.fork_spawner import ForkSpawner
from tests.integration.chaos import (
    Mortal,
    Wish,
    instance_of,
    marked,
    quiet_port,
    seed,
)
from tests.integration.manager_process import until, write_config
from tests.integration.watchman import watched

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not ForkSpawner.available(), reason="needs the fork server and /proc"),
]

LIVES, STEPS = 5, 200
# A start of the manager and a wait for rest take as long as dozens of other steps.
STEPS_BETWEEN_KILLS, STEPS_BETWEEN_RESTS = 20, 10
IDS = st.sampled_from(["plain", "pair", "public"])
ACTIONS = st.sampled_from(["start", "pause", "resume", "stop", "restart", "kill"])
WAITS = st.sampled_from([0.0, 0.0, 0.02, 0.2])
RESTART = {"initialDelaySeconds": 0.05, "maxDelaySeconds": 0.2, "maxCrashes": 1000}


class RealLife(RuleBasedStateMachine):
    """The model is `wishes`; an agent that is not `configured` comes back as a person left it."""

    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.directory = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.mark = uuid.uuid4().hex
        self.stack.enter_context(watched(self.mark))
        self.since_kill = self.since_rest = 0
        self.port, public = quiet_port(), quiet_port()
        self.agents: dict[str, dict[str, Any]] = {
            "plain": {"id": "plain"},
            "pair": {"id": "pair", "instances": 2},
            "public": {"id": "public", "port": public},
        }
        self.wishes = {agent_id: Wish("running", agent.get("instances", 1)) for agent_id, agent in self.agents.items()}
        self.configured = list(self.agents)
        self.manager = Mortal(self.write(), self.mark)
        self.is_up = False
        self.a_manager_comes_back()

    def write(self) -> Path:
        agents = [{**self.agents[agent_id], "restart": RESTART} for agent_id in self.configured]
        return write_config(self.directory, agents, queueWhileRestartingSeconds=0.5)

    # What people do.

    @precondition(lambda self: self.is_up)
    @rule(agent_id=IDS, action=ACTIONS, wait=WAITS)
    def act(self, agent_id: str, action: str, wait: float) -> None:
        self.ask(agent_id, {"action": action}, action, None, wait)

    @precondition(lambda self: self.is_up)
    @rule(agent_id=IDS, instances=st.integers(1, 3), wait=WAITS)
    def scale(self, agent_id: str, instances: int, wait: float) -> None:
        self.ask(agent_id, {"action": "scale", "instances": instances}, "scale", instances, wait)

    def ask(self, agent_id: str, body: dict[str, Any], action: str, instances: int | None, wait: float) -> None:
        with self.step(wait), self.manager.client() as http:
            answer = http.post(f"/api/agent-services/{agent_id}/action", json=body)
            assert answer.status_code in (202, 404, 409), answer.text
            if answer.status_code == 202:
                # Also of one that is on its way out of the config: it comes back as it was left.
                self.wishes[agent_id] = self.wishes[agent_id].after(action, instances)

    @precondition(lambda self: self.is_up)
    @rule(agent_id=IDS, wait=WAITS)
    def leave_or_join_the_config(self, agent_id: str, wait: float) -> None:
        if agent_id in self.configured:
            self.configured.remove(agent_id)
        else:
            self.configured.append(agent_id)
        self.reload(wait)

    @precondition(lambda self: self.is_up)
    @rule(agent_id=IDS, queue=st.integers(1, 9), wait=WAITS)
    def change_the_config(self, agent_id: str, queue: int, wait: float) -> None:
        self.agents[agent_id]["maxQueue"] = queue
        self.reload(wait)

    def reload(self, wait: float) -> None:
        self.write()
        with self.step(wait), self.manager.client() as http:
            assert http.post("/api/config/reload").status_code == 202

    # What agents and the machine do.

    @precondition(lambda self: self.is_up)
    @rule(agent_id=IDS, code=st.sampled_from([0, 1, 3]), wait=WAITS)
    def exit_by_itself(self, agent_id: str, code: int, wait: float) -> None:
        self.execute(agent_id, wait, exit=code)

    @precondition(lambda self: self.is_up)
    @rule(agent_id=IDS, wait=WAITS)
    def work(self, agent_id: str, wait: float) -> None:
        answer = self.execute(agent_id, wait, token=time.monotonic())
        if answer.status_code == 200:
            assert agent_id in self.configured and self.wishes[agent_id].desired == "running"

    def execute(self, agent_id: str, wait: float, **parameters: Any) -> httpx.Response:
        with self.step(wait), self.manager.client() as http:
            answer = http.post(f"/api/agent-services/{agent_id}/execute", json={"parameters": parameters})
            assert answer.status_code in (200, 404, 409, 502, 503), answer.text
            return answer

    @rule(number=st.integers(0, 9), wait=WAITS)
    def a_process_is_killed(self, number: int, wait: float) -> None:
        with self.step(wait):
            victims = [stat for stat in marked(self.mark) if instance_of(stat) is not None]
            if victims and (descriptor := kill(victims[number % len(victims)])) is not None:
                os.close(descriptor)

    @precondition(lambda self: self.is_up and self.since_kill >= STEPS_BETWEEN_KILLS)
    @rule(wait=WAITS)
    def the_manager_is_killed(self, wait: float) -> None:
        with self.step(wait):
            assert self.manager.end(signal.SIGKILL) == -signal.SIGKILL
            self.is_up = False
        self.since_kill = 0

    @precondition(lambda self: not self.is_up)
    @rule()
    def a_manager_comes_back(self) -> None:
        with self.step(0.0):
            self.manager.start(self.port)
            until(self.manager.is_ready, "the manager is ready")
            self.is_up = True

    # What must be so.

    @precondition(lambda self: self.is_up and self.since_rest >= STEPS_BETWEEN_RESTS)
    @rule()
    def all_is_as_it_was_wanted(self) -> None:
        with self.step(0.0):
            found: list[object] = []

            def settled() -> bool:
                found[:] = self.differences()
                return not found

            try:
                until(settled, "all is as it was wanted")
            except AssertionError:
                raise AssertionError(f"wanted: {self.wishes} of {self.configured}; found: {found}") from None
        self.since_rest = 0

    def differences(self) -> list[object]:
        """Between the model and what is listed and runs."""
        rows = self.manager.agents()
        found: list[object] = [] if [row["id"] for row in rows] == self.configured else [[row["id"] for row in rows]]
        found += [row for row in rows if row["id"] in self.configured and not self.wishes[row["id"]].is_met_by(row)]
        listed = {(each["instance_id"], each["pid"]) for row in rows for each in row["instances"]}
        alive = {(instance, stat.pid) for stat in marked(self.mark) if (instance := instance_of(stat)) is not None}
        return found if alive == listed else [*found, alive ^ listed]

    @contextmanager
    def step(self, wait: float) -> Iterator[None]:
        """Count one, and give it its time."""
        RealLife.steps += 1
        self.since_kill += 1
        self.since_rest += 1
        yield
        time.sleep(wait)

    def teardown(self) -> None:
        try:
            if not self.is_up:
                self.a_manager_comes_back()
            self.all_is_as_it_was_wanted()
            assert self.manager.end(signal.SIGTERM) == 0
            until(lambda: not marked(self.mark), "nothing is left")
        finally:
            self.stack.close()


@pytest.mark.timeout(600)
def test_a_thousand_random_steps_end_where_a_person_wanted_it() -> None:
    RealLife.steps = 0
    chosen = seed()
    # Hypothesis ends a life early now and then.
    while (missing := LIVES * STEPS - RealLife.steps) > 0:
        live(chosen + RealLife.steps, lives=math.ceil(missing / STEPS))


def live(chosen: int, lives: int) -> None:
    """A life that failed is not tried again in parts: it would take an hour, and no two of them are alike."""
    once = settings(
        max_examples=lives,
        stateful_step_count=STEPS,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    try:
        run_state_machine_as_test(hypothesis.seed(chosen)(RealLife), settings=once)
    except FlakyFailure as flaky:
        # Its steps are done once more all the same, and may well succeed then; what failed first is what counts.
        raise flaky.exceptions[0] from None
