"""Where sidecars are found: each keeps its address from its first start on, since others are told of it once."""

from __future__ import annotations

from urllib.parse import urlsplit

from manager.specs.models import AgentConfig
from manager.supervision.free_port import free_port

HOST = "127.0.0.1"


class Addresses:
    """Of all sidecars; they answer on this machine. `HOST:PORT` by id."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def take(self, agent: AgentConfig) -> int:
        """The port for a start of this sidecar: its own, or the one that was found free at its first start."""
        if agent.port is not None:
            self._known[agent.id] = f"{HOST}:{agent.port}"
        return int(self.of(agent.id).rpartition(":")[2])

    def keep(self, agent_id: str, url: str) -> None:
        """An earlier manager has started it there, and has told others so."""
        self._known[agent_id] = urlsplit(url).netloc

    def of(self, agent_id: str) -> str:
        """Where the sidecar is, or will be once it is started."""
        return self._known.setdefault(agent_id, f"{HOST}:{free_port(HOST)}")

    def find(self, agent_id: str) -> str | None:
        """The same; None for who is no sidecar."""
        return self._known.get(agent_id)

    def forget(self, agent_id: str) -> None:
        """It is no sidecar, or not any longer."""
        self._known.pop(agent_id, None)
