"""The whole config once it is known to be right."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from manager.settings import RuntimeSettings
from manager.specs.models import DUMMY, AgentConfig


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


def project_directory(config_path: Path) -> Path:
    """Where relative paths begin: the config file's directory, or its parent when that one is called `config`."""
    directory = config_path.absolute().parent
    return directory.parent if directory.name == "config" else directory


def as_dummies(config: FleetConfig) -> FleetConfig:
    """The same fleet with every agent a dummy, which needs no code, no command and no secrets."""
    dummies = (agent.model_copy(update={"entry_point": DUMMY, "command": None, "env": {}}) for agent in config.agents)
    return replace(config, agents=tuple(dummies))
