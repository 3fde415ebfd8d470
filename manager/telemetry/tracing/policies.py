"""What of each agent is traced: as its definition says, or as a person has set it while the manager runs."""

from __future__ import annotations

from collections.abc import Callable

from agent_service.definition import Tracing
from agent_service.tracing.policy import Policy


class Policies:
    """`defined`: what an agent's definition says now. What a person sets is kept as long as this manager lives."""

    def __init__(self, defined: Callable[[str], Tracing | None], fleet_rate: float) -> None:
        self._defined = defined
        self._fleet_rate = fleet_rate
        self._overrides: dict[str, Tracing] = {}

    def of(self, agent_id: str) -> Tracing:
        """What holds."""
        found = self._overrides.get(agent_id)
        return found if found is not None else Policy(lambda: self._defined(agent_id), self._fleet_rate).now()

    def override_of(self, agent_id: str) -> Tracing | None:
        """What a person has set."""
        return self._overrides.get(agent_id)

    def set(self, agent_id: str, policy: Tracing | None) -> None:
        """From now on this; None: as the definition says."""
        if policy is None:
            self._overrides.pop(agent_id, None)
        else:
            self._overrides[agent_id] = policy
