"""Who is up and who waits for it: an agent is started when all that it depends on is running."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from manager.specs.models import AgentConfig
from manager.supervision.states import DOWN, AgentState


@dataclass(frozen=True)
class _Standing:
    """What those that depend on an agent know of it; `ended` says how, where it stays down until a person starts it."""

    is_up: bool = False
    ended: str | None = None
    waits_for: tuple[str, ...] = ()


_UNKNOWN = _Standing()


class Dependencies:
    """Told by each agent's supervisor how it stands; wakes those that depend on it, also through others."""

    def __init__(self) -> None:
        self._standings: dict[str, _Standing] = {}
        self._dependents: dict[str, dict[str, Callable[[], None]]] = {}

    def missing(self, agent: AgentConfig, wake: Callable[[], None]) -> tuple[str, ...]:
        """What `agent` has to wait for, in the order of its config; `wake` is called when that may have changed."""
        for needed in agent.depends_on:
            self._dependents.setdefault(needed, {})[agent.id] = wake
        return tuple(needed for needed in agent.depends_on if not self._standing(needed).is_up)

    def in_vain(self, needed: Iterable[str]) -> tuple[str, ...]:
        """Those that a person must start before all of `needed` can come up: of these, or of what they wait for."""
        return tuple(dict.fromkeys(chain[-1] for agent_id in needed if (chain := self._chain(agent_id))))

    def in_words(self, needed: Sequence[str]) -> str:
        """What somebody who needs these waits for: `bot, which waits for llm, which is failed: no key; tools`."""
        chains = [self._chain(agent_id) for agent_id in needed]
        told = [self._told(chain) or agent_id for agent_id, chain in zip(needed, chains, strict=True)]
        return ("; " if any(chains) else ", ").join(told)

    def remedy(self, needed: Iterable[str]) -> str | None:
        """What a person must do: `mend and start llm`; None where all of `needed` may come up by themselves."""
        roots = self.in_vain(needed)
        only_start = all(self._standing(root).ended == AgentState.STOPPED.in_words for root in roots)
        return f"{'start' if only_start else 'mend and start'} {', '.join(roots)}" if roots else None

    def note(
        self, agent_id: str, state: AgentState, reason: str | None = None, waits_for: tuple[str, ...] = ()
    ) -> None:
        """How an agent stands by now; `waits_for`: what it needs before anything of it is started."""
        because = f": {reason.rstrip('.')}" if reason else ""
        ended = f"{state.in_words}{because}" if state in DOWN else None
        standing = _Standing(state is AgentState.RUNNING, ended, waits_for)
        if standing != self._standing(agent_id):
            self._standings[agent_id] = standing
            self._wake_dependents(agent_id)

    def forget(self, agent_id: str) -> None:
        """The agent is gone for good."""
        self._standings.pop(agent_id, None)

    def _standing(self, agent_id: str) -> _Standing:
        return self._standings.get(agent_id, _UNKNOWN)

    def _chain(self, agent_id: str) -> tuple[str, ...]:
        """From an agent over what it waits for, and so on, to the nearest that has ended; empty where none has."""
        chains: deque[tuple[str, ...]] = deque([(agent_id,)])
        seen = {agent_id}
        while chains:
            chain = chains.popleft()
            standing = self._standing(chain[-1])
            if standing.ended is not None:
                return chain
            # In the middle of a reload those that wait may stand in a circle.
            further = [needed for needed in standing.waits_for if needed not in seen]
            seen.update(further)
            chains.extend((*chain, needed) for needed in further)
        return ()

    def _told(self, chain: tuple[str, ...]) -> str:
        return f"{', which waits for '.join(chain)}, which {self._standing(chain[-1]).ended}" if chain else ""

    def _wake_dependents(self, agent_id: str) -> None:
        changed = [agent_id]
        while changed:
            for dependent, wake in self._dependents.pop(changed.pop(), {}).items():
                wake()
                changed.append(dependent)


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
