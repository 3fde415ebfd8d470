"""Starts instances by fork servers that have imported what they need: in tens of milliseconds, for a few megabytes."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import structlog

from agent_service.forkserver.profiles import PROFILES, Profile
from agent_service.http.listeners import PublicListeners
from manager.supervision.fork_server import ForkServer, ForkServerView, exit_of
from manager.supervision.fork_server_start import ForkServerUnavailable
from manager.supervision.identity import fleet_of, identity_now
from manager.supervision.process import Exit, Launch, Process, ProcessIdentity, Spawner

log = structlog.get_logger(__name__)


class ForkSpawner:
    """One fork server per preload profile, each started when it is first needed; without one, `fallback` starts.

    The servers go on when the manager ends. `listeners`: shared with the fallback; they hold a second descriptor of
    each public listener, so that it survives whichever process dies.
    """

    shares_ports = True

    def __init__(
        self,
        state_directory: Path,
        log_directory: Path,
        fallback: Spawner,
        listeners: PublicListeners,
        environ: Mapping[str, str],
    ) -> None:
        self._fallback = fallback
        self._listeners = listeners
        self._servers: dict[Profile, ForkServer] = {
            profile: ForkServer(
                profile,
                (state_directory / "forkserver" / f"{profile}.sock").absolute(),
                # With a dot in it, it is no agent's log.
                (log_directory / f"fork-server.{profile}.log").absolute(),
                environ,
                fleet_of(state_directory),
            )
            for profile in PROFILES
        }
        self._failing: set[Profile] = set()

    @staticmethod
    def available() -> bool:
        """Whether this system can: fork is unsafe beside macOS's frameworks, and Windows has none."""
        return sys.platform == "linux"

    async def spawn(self, launch: Launch) -> Process:
        """Start an instance. Raises `SpawnFailed`."""
        server = self._servers[launch.preload]
        listener = await self._public_listener(launch.agent_id, launch.public_port)
        try:
            process, received = await server.spawn(launch, listener)
        except ForkServerUnavailable as error:
            self._note_failure(launch.preload, str(error))
            return await self._fallback.spawn(launch)
        finally:
            if listener is not None:
                listener.close()
        self._failing.discard(launch.preload)
        if received is not None:
            self._keep(launch.agent_id, received)
        return process

    def adopt(self, identity: ProcessIdentity, instance_id: str) -> Process:
        """Take back a process that an earlier manager started; after `collect`."""
        for server in self._servers.values():
            if (process := server.adopt(identity, instance_id)) is not None:
                return process
        return self._fallback.adopt(identity, instance_id)

    async def collect(self) -> dict[str, Exit]:
        """How instances ended while no manager was there to hear it, by instance id."""
        # First: what a server is just starting may be told of twice, but not overlooked.
        await self._fallback.collect()
        await asyncio.gather(*(server.find() for server in self._servers.values()))
        return {key: exit_of(notice) for server in self._servers.values() for key, notice in server.exits.items()}

    def strays(self) -> Mapping[str, tuple[str | None, ProcessIdentity]]:
        """What a server tells of and, where its server has died too, what else is found."""
        told: dict[str, tuple[str | None, ProcessIdentity]] = {
            stray.instance_id: (stray.agent_id, identity_now(stray.pid, stray.created_at))
            for server in self._servers.values()
            for stray in server.strays
        }
        return {**self._untold(), **told}

    def servers(self) -> list[ForkServerView]:
        """The fork servers that are there now."""
        return [view for server in self._servers.values() for view in server.views()]

    def forget(self, instance_id: str) -> None:
        """The end of this instance has been dealt with; its exit need not be kept for the next manager."""
        for server in self._servers.values():
            server.forget(instance_id)

    async def reclaim(self, agent_id: str, port: int, identity: ProcessIdentity) -> bool:
        """Whether successors can share the agent's port with this adopted process, which may listen there."""
        listener = await self._public_listener(agent_id, port)
        if listener is None:
            return await self._fallback.reclaim(agent_id, port, identity)
        listener.close()
        return True

    async def release(self, agent_id: str) -> None:
        """Close the agent's public listener."""
        self._listeners.release(agent_id)
        await asyncio.gather(*(server.release(agent_id) for server in self._servers.values()))

    async def aclose(self, *, leave_running: bool) -> None:
        """Part with the servers; without `leave_running` each ends once the last of its instances has."""
        await asyncio.gather(*(server.close(leave_running=leave_running) for server in self._servers.values()))
        await self._fallback.aclose(leave_running=leave_running)

    async def _public_listener(self, agent_id: str, port: int | None) -> socket.socket | None:
        """The agent's listener, for the caller to close, if we have it or a server has it from an earlier manager."""
        if port is None:
            return None
        for server in self._servers.values():
            if self._listeners.find(agent_id, port) is None:
                lent = await server.borrow(agent_id, port)
                if lent is not None:
                    self._keep(agent_id, lent)
        kept = self._listeners.find(agent_id, port)
        # Ours may be released while the caller still needs it.
        return None if kept is None else kept.dup()

    def _untold(self) -> dict[str, tuple[str | None, ProcessIdentity]]:
        servers = self._servers.values()
        # In the moment of a fork a server looks like the instance that it starts.
        pids = {view.pid for view in self.servers()}
        return {
            instance_id: found
            for instance_id, found in self._fallback.strays().items()
            if found[1].pid not in pids and not any(server.knows(instance_id) for server in servers)
        }

    def _keep(self, agent_id: str, listener: socket.socket) -> None:
        """Several starts at once receive the same one several times."""
        if self._listeners.find(agent_id, int(listener.getsockname()[1])) is None:
            self._listeners.keep(agent_id, listener)
        else:
            listener.close()

    def _note_failure(self, profile: Profile, reason: str) -> None:
        if profile not in self._failing:
            self._failing.add(profile)
            log.warning("Fork server is not available; agents start slowly, by exec", profile=profile, reason=reason)
