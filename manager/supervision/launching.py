"""From an agent's config to the process that runs it: command line and environment, references resolved."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent_service import contract
from agent_service.contract import AdapterStatus
from manager.settings import Secrets
from manager.specs.models import DUMMY, AgentConfig
from manager.specs.references import resolve_env
from manager.supervision.free_port import free_port
from manager.supervision.process import Launch, ProcessLimits

ADAPTER_HOST = "127.0.0.1"


@dataclass(frozen=True)
class Launcher:
    """`environ` is what every agent inherits; what the manager says goes over it, an agent's own `env` in between."""

    environ: Mapping[str, str]
    manager_url: str
    tokens: Secrets
    project_directory: Path
    log_file: Callable[[str], Path]
    shares_ports: bool

    def launch(self, agent: AgentConfig, *, paused: bool) -> Launch:
        """A new instance of `agent`. Raises `ConfigError` for a reference that cannot be resolved."""
        instance_id = secrets.token_hex(8)
        own = resolve_env(agent, self.environ, self.project_directory)
        argv = agent.command or (sys.executable, "-m", "agent_service")
        return Launch(
            agent_id=agent.id,
            instance_id=instance_id,
            argv=tuple(argv),
            environment={**self.environ, **own, **self._told(agent, instance_id, paused)},
            directory=self.project_directory,
            log_file=self.log_file(agent.id),
            public_port=agent.port if self._is_shared(agent) else None,
            preload=_preload(agent),
            limits=ProcessLimits(cpu_seconds=agent.limits.cpu_seconds, open_files=agent.limits.open_files),
        )

    def _told(self, agent: AgentConfig, instance_id: str, paused: bool) -> dict[str, str]:
        told = {
            contract.ENV_AGENT_ID: agent.id,
            contract.ENV_INSTANCE_ID: instance_id,
            contract.ENV_HOST: ADAPTER_HOST,
            contract.ENV_PORT: str(self._port(agent)),
            contract.ENV_MANAGER_URL: self.manager_url,
            contract.ENV_LOG_FILE: str(self.log_file(agent.id)),
            contract.ENV_INITIAL_STATUS: (AdapterStatus.PAUSED if paused else AdapterStatus.RUNNING).value,
            contract.ENV_SPEC: agent.spec().model_dump_json(by_alias=True),
        }
        if self.tokens.token is not None:
            told[contract.ENV_TOKEN] = self.tokens.token.get_secret_value()
        if self.tokens.token_previous is not None:
            told[contract.ENV_TOKEN_PREVIOUS] = self.tokens.token_previous.get_secret_value()
        return told

    def _is_shared(self, agent: AgentConfig) -> bool:
        return self.shares_ports and agent.command is None

    def _port(self, agent: AgentConfig) -> int:
        if agent.port is not None and not self._is_shared(agent):
            return agent.port
        # Our adapter takes any free port (0) and reports it; a foreign program is told one, in the hope that
        # nobody takes it between here and there. When somebody does, it fails to bind and is started again.
        return free_port(ADAPTER_HOST) if agent.command else 0


def _preload(agent: AgentConfig) -> Literal["light", "langgraph"]:
    if agent.preload == "auto":
        return "light" if agent.entry_point in (None, DUMMY) else "langgraph"
    return agent.preload
