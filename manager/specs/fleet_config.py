"""The whole config once it is known to be right."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from manager.settings import RuntimeSettings
from manager.specs.models import DUMMY, AgentConfig

_DUMMY: dict[str, object] = {
    "entry_point": DUMMY,
    "command": None,
    "env": {},
    "definition": None,
    "probe": None,
    "requires_extra": None,
}


@dataclass(frozen=True)
class FleetConfig:
    """What a manager is started with. `path` and `project_directory` are absolute."""

    runtime: RuntimeSettings
    agents: tuple[AgentConfig, ...]
    path: Path
    project_directory: Path

    @property
    def log_directory(self) -> Path:
        """Absolute."""
        return self.project_directory / self.runtime.log_directory

    @property
    def state_directory(self) -> Path:
        """Absolute."""
        return self.project_directory / self.runtime.state_directory


def as_dummies(config: FleetConfig) -> FleetConfig:
    """The same fleet with every agent a dummy, which needs no code, no command and no secrets, and worries nobody."""
    return replace(
        config,
        runtime=config.runtime.model_copy(update={"webhooks": ()}),
        agents=tuple(agent.model_copy(update=_DUMMY) for agent in config.agents),
    )
