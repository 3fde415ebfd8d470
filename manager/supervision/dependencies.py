"""Who is up and who waits for it: an agent is started when all that it depends on is running."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from manager.specs.models import AgentConfig


class Dependencies:
    """Told by each agent's supervisor whether it is up; wakes those that depend on it."""

    def __init__(self) -> None:
        self._up: set[str] = set()
        self._ended: dict[str, str] = {}
        self._dependents: dict[str, dict[str, Callable[[], None]]] = {}

    def missing(self, agent: AgentConfig, wake: Callable[[], None]) -> tuple[str, ...]:
        """What `agent` has to wait for, in the order of its config; `wake` is called when that may have changed."""
        for needed in agent.depends_on:
            self._dependents.setdefault(needed, {})[agent.id] = wake
        return tuple(needed for needed in agent.depends_on if needed not in self._up)

    def in_vain(self, needed: Iterable[str]) -> tuple[str, ...]:
        """Those of `needed` that do not come up until a person starts them."""
        return tuple(agent_id for agent_id in needed if agent_id in self._ended)

    def in_words(self, needed: Iterable[str]) -> str:
        """What somebody who needs these waits for: `llm, which is failed: exited with status 1; tools`."""
        told = [f"{i}, which {self._ended[i]}" if i in self._ended else i for i in needed]
        return ("; " if self.in_vain(needed) else ", ").join(told)

    def note(self, agent_id: str, *, is_up: bool, ended: str | None = None) -> None:
        """An agent has come up or gone down; `ended`: how, where it does not come up until a person starts it."""
        if is_up is (agent_id in self._up) and ended == self._ended.get(agent_id):
            return
        (self._up.add if is_up else self._up.discard)(agent_id)
        self._ended.pop(agent_id, None)
        if ended is not None:
            self._ended[agent_id] = ended
        for wake in self._dependents.pop(agent_id, {}).values():
            wake()


async def after_dependents(agents: Iterable[AgentConfig], end: Callable[[str], Coroutine[Any, Any, None]]) -> None:
    """Run `end` for every agent at once, but for each only after it has returned for all that depend on it."""
    dependents = _dependents(agents)
    ended = {agent_id: asyncio.Event() for agent_id in dependents}

    async def end_in_turn(agent_id: str) -> None:
        for dependent in dependents[agent_id]:
            await ended[dependent].wait()
        await end(agent_id)
        ended[agent_id].set()

    async with asyncio.TaskGroup() as tasks:
        for agent_id in dependents:
            tasks.create_task(end_in_turn(agent_id), name=f"end {agent_id}")


def _dependents(agents: Iterable[AgentConfig]) -> Mapping[str, list[str]]:
    """Who depends on each agent."""
    agents = tuple(agents)
    found: dict[str, list[str]] = {agent.id: [] for agent in agents}
    for agent in agents:
        for needed in agent.depends_on:
            if needed in found:
                found[needed].append(agent.id)
    return found
