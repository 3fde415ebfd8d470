"""Where sidecars are found: each keeps its address from its first start on, unless somebody else has taken it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

from manager.errors import SpawnFailed
from manager.specs.models import AgentConfig
from manager.supervision.free_port import free_port, is_free

HOST = "127.0.0.1"

# What the sidecar's own last process has left behind is ended at this moment, and takes a moment to be gone.
_LOOKS = 20
_PAUSE_SECONDS = 0.05


class Addresses:
    """Of all sidecars; they answer on this machine. `HOST:PORT` by id."""

    def __init__(
        self, *, pick: Callable[[str], int] = free_port, is_free: Callable[[str, int], bool] = is_free
    ) -> None:
        self._known: dict[str, str] = {}
        self._pick = pick
        self._is_free = is_free

    async def secure(self, agent: AgentConfig) -> str | None:
        """Before a start of this sidecar: see that nobody else answers where it will be asked how it is.

        Answers where it was until now when it has to move. Raises `SpawnFailed` where its config leaves no choice.
        """
        port = self.take(agent)
        for look in range(_LOOKS):
            await asyncio.sleep(_PAUSE_SECONDS if look else 0)
            if self._is_free(HOST, port):
                return None
        if agent.port is not None:
            raise SpawnFailed(
                f"Port {port} of the sidecar {agent.id} is in use by another process; stop that one, give the sidecar "
                "another port, or leave port out.",
                agent_id=agent.id,
            )
        before = self._known.pop(agent.id)
        self.of(agent.id)
        return before

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
        if agent_id not in self._known:
            self._known[agent_id] = f"{HOST}:{self._pick(HOST)}"
        return self._known[agent_id]

    def find(self, agent_id: str) -> str | None:
        """The same; None for who is no sidecar."""
        return self._known.get(agent_id)

    def forget(self, agent_id: str) -> None:
        """It is no sidecar, or not any longer."""
        self._known.pop(agent_id, None)
