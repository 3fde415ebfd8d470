"""Tasks under way in a real fleet."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from tests.fixtures.gate import Gate
from tests.integration.manager_process import DEADLINE_SECONDS, ManagerProcess, until


@dataclass(frozen=True)
class Task:
    """An execute that an adapter is working on until `finish` is called, or the agent is made to give it up."""

    answer: Future[httpx.Response]
    gate: Gate

    def finish(self) -> httpx.Response:
        """Its answer, now that it may end."""
        self.gate.open()
        return self.answer.result(DEADLINE_SECONDS)


@contextmanager
def task_in_flight(manager: ManagerProcess, agent_id: str, **parameters: object) -> Iterator[Task]:
    """An execute under way through the manager: inside, the adapter is working on it."""
    service_url = manager.agent(agent_id)["service_url"]
    with ThreadPoolExecutor(1) as pool, Gate() as gate:
        task = Task(pool.submit(manager.execute, agent_id, **parameters, **gate.parameters), gate)
        until(lambda: httpx.get(f"{service_url}/status").json()["in_flight"] == 1, "the task is in flight")
        yield task
