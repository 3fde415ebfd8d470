"""From an agent's config to the process that runs it: command line and environment, references resolved."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from agent_service import contract
from agent_service.contract import AdapterStatus
from agent_service.definition import AgentDefinition
from agent_service.log_files import LogLimits
from agent_service.redaction import is_reference
from agent_service.tracing.settings import ENDPOINT, SERVICE_NAME, TRACES_ENDPOINT
from manager.settings import Secrets
from manager.specs.definitions import with_addresses
from manager.specs.models import DUMMY, AgentConfig
from manager.specs.references import resolve_env
from manager.supervision.addresses import Addresses
from manager.supervision.free_port import free_port
from manager.supervision.identity import fleet_of
from manager.supervision.process import Launch, ProcessLimits

ADAPTER_HOST = "127.0.0.1"
PYTHON = "{python}"
"""In a command: the interpreter that the manager itself runs with."""


@dataclass(frozen=True)
class Launcher:
    """`environ` is what every agent inherits; what the manager says goes over it, an agent's own `env` in between."""

    environ: Mapping[str, str]
    manager_url: str
    tokens: Secrets
    project_directory: Path
    log_file: Callable[[str], Path]
    shares_ports: bool
    state_directory: Path | None = None
    """Below it each agent has a directory for what it remembers."""
    addresses: Addresses = field(default_factory=Addresses)
    log_limits: LogLimits | None = None
    """When an agent rotates its log; None leaves it to the agent."""
    begin_log: Callable[[str, str], None] | None = None
    """Told (agent id, instance id) before each start."""

    def launch(self, agent: AgentConfig, *, paused: bool) -> Launch:
        """A new instance of `agent`. Raises `ConfigError` for a reference that cannot be resolved."""
        instance_id = secrets.token_hex(8)
        own = resolve_env(agent, self.environ, self.project_directory)
        argv = agent.command or (PYTHON, "-m", "agent_service")
        port = self._port(agent)
        definition = self.definition(agent)
        inherited = _without_tokens(self.environ) if agent.is_sidecar else self.environ
        told = {**self._told(agent, instance_id, port), **self._where_others_are(agent)}
        if not agent.is_sidecar:
            told |= self._told_adapters(agent, definition, paused)
        if self.begin_log is not None:
            self.begin_log(agent.id, instance_id)
        return Launch(
            agent_id=agent.id,
            instance_id=instance_id,
            argv=tuple(sys.executable if word == PYTHON else word for word in argv),
            environment={**inherited, **self._traced(agent), **own, **told},
            directory=self.project_directory,
            log_file=self.log_file(agent.id),
            public_port=agent.port if self._is_shared(agent) else None,
            preload=_preload(agent),
            limits=ProcessLimits(cpu_seconds=agent.limits.cpu_seconds, open_files=agent.limits.open_files),
            sidecar_url=f"http://{ADAPTER_HOST}:{port}" if agent.is_sidecar else None,
            definition=definition,
        )

    def definition(self, agent: AgentConfig) -> AgentDefinition | None:
        """What an agent that is described by data is told of itself: with the addresses of its sidecars."""
        return with_addresses(agent.definition, self.addresses.of) if agent.definition is not None else None

    def _traced(self, agent: AgentConfig) -> dict[str, str]:
        """Whatever language it is written in: the name by which its traces are found, where they have an endpoint."""
        is_traced = self.environ.get(ENDPOINT) or self.environ.get(TRACES_ENDPOINT)
        return {SERVICE_NAME: agent.id} if is_traced else {}

    def _told(self, agent: AgentConfig, instance_id: str, port: int) -> dict[str, str]:
        return {
            contract.ENV_AGENT_ID: agent.id,
            contract.ENV_INSTANCE_ID: instance_id,
            contract.ENV_HOST: ADAPTER_HOST,
            contract.ENV_PORT: str(port),
            contract.ENV_LOG_FILE: str(self.log_file(agent.id)),
            **({contract.ENV_FLEET: fleet_of(self.state_directory)} if self.state_directory is not None else {}),
            **self._told_of_logs(agent),
        }

    def _told_of_logs(self, agent: AgentConfig) -> dict[str, str]:
        told = {contract.ENV_SECRETS: ",".join(name for name, value in agent.env.items() if is_reference(value))}
        if self.log_limits is not None:
            told[contract.ENV_LOG_MAX_BYTES] = str(self.log_limits.max_bytes)
            told[contract.ENV_LOG_MAX_FILES] = str(self.log_limits.max_files)
        return {name: value for name, value in told.items() if value}

    def _told_adapters(self, agent: AgentConfig, definition: AgentDefinition | None, paused: bool) -> dict[str, str]:
        spec = agent.spec().model_copy(update={"definition": definition})
        told = {
            contract.ENV_MANAGER_URL: self.manager_url,
            contract.ENV_INITIAL_STATUS: (AdapterStatus.PAUSED if paused else AdapterStatus.RUNNING).value,
            contract.ENV_SPEC: spec.model_dump_json(by_alias=True),
        }
        if self.state_directory is not None:
            told[contract.ENV_STATE_DIRECTORY] = str(self.state_directory / "threads" / agent.id)
        if self.tokens.token is not None:
            told[contract.ENV_TOKEN] = self.tokens.token.get_secret_value()
        if self.tokens.token_previous is not None:
            told[contract.ENV_TOKEN_PREVIOUS] = self.tokens.token_previous.get_secret_value()
        return told

    def _where_others_are(self, agent: AgentConfig) -> dict[str, str]:
        """The addresses of those that it depends on: of a sidecar its own, of an agent the manager's for it."""
        return {
            f"AGENT_DEPENDENCY_{needed.upper().replace('-', '_')}_URL": self._url_of(needed)
            for needed in agent.depends_on
        }

    def _url_of(self, agent_id: str) -> str:
        sidecar = self.addresses.find(agent_id)
        return f"http://{sidecar}" if sidecar else f"{self.manager_url}/api/agent-services/{agent_id}"

    def _is_shared(self, agent: AgentConfig) -> bool:
        return self.shares_ports and agent.command is None

    def _port(self, agent: AgentConfig) -> int:
        if agent.is_sidecar:
            return self.addresses.take(agent)
        self.addresses.forget(agent.id)
        if agent.port is not None and not self._is_shared(agent):
            return agent.port
        # Our adapter takes any free port (0) and reports it; a foreign program is told one, in the hope that
        # nobody takes it between here and there. When somebody does, it fails to bind and is started again.
        return free_port(ADAPTER_HOST) if agent.command else 0


def _without_tokens(environ: Mapping[str, str]) -> dict[str, str]:
    """What does not speak the adapter API has no use for the tokens."""
    tokens = (contract.ENV_TOKEN, contract.ENV_TOKEN_PREVIOUS)
    return {name: value for name, value in environ.items() if name not in tokens}


def _preload(agent: AgentConfig) -> Literal["light", "langgraph"]:
    if agent.preload == "auto":
        return "light" if agent.entry_point in (None, DUMMY) else "langgraph"
    return agent.preload
