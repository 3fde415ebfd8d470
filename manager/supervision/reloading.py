"""Brings a changed config file into a running manager: all of what it says, or nothing when it is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import Protocol

from manager.errors import ConfigError, NotReady, StateConflict
from manager.events import EventBus, EventKind
from manager.specs.diff import LIVE_RUNTIME_FIELDS, ConfigDiff, Effect, diff
from manager.specs.fleet_config import FleetConfig
from manager.specs.models import AgentConfig

_ISSUES_TOLD = 3


class SupervisedFleet(Protocol):
    """Who does what a reload decides. Every method returns at once; drains and starts go on by themselves."""

    def agents(self) -> tuple[AgentConfig, ...]: ...

    def stopped(self) -> frozenset[str]: ...

    def add(self, agent: AgentConfig) -> None: ...

    def remove(self, agent_id: str) -> None: ...

    def reconfigure(self, agent: AgentConfig, *, restart: bool) -> None: ...

    def reorder(self, ids: Iterable[str]) -> None: ...


class Reloader:
    """Compares the config that runs with the file and closes the gap, one reload at a time.

    `config` is what the manager was started with, `load` reads the file anew (in a thread) and raises `ConfigError`.
    """

    def __init__(
        self,
        config: FleetConfig,
        supervisor: SupervisedFleet,
        load: Callable[[], FleetConfig],
        bus: EventBus,
        *,
        is_ready: Callable[[], bool],
    ) -> None:
        self._config = config
        self._supervisor = supervisor
        self._load = load
        self._bus = bus
        self._is_ready = is_ready
        self._lock = asyncio.Lock()

    @property
    def running(self) -> FleetConfig:
        """What is in force now: changes of `runtime` that wait for the manager's restart are not in it."""
        return replace(self._config, agents=self._supervisor.agents())

    async def plan(self) -> ConfigDiff:
        """What `apply` would do now. Raises `ConfigError` with everything that is wrong with the file."""
        new = await asyncio.to_thread(self._load)
        return self._difference(new)

    async def apply(self, *, actor: str, quiet: bool = False, seen: str | None = None) -> ConfigDiff:
        """Take the file over; returns when every agent knows, not when it has drained. `quiet` about no differences.

        `seen` is the fingerprint of the plan that whoever asks has looked at. Raises, with nothing changed,
        `ConfigError`, `NotReady` while the manager starts or stops, and `StateConflict` where the plan is another now.
        """
        async with self._lock:
            new = await self._read(actor)
            if not self._is_ready():
                raise NotReady("The manager is starting or stopping and takes no config; try again in a moment.")
            # Nothing is awaited from here on: no request ever sees half of a reload.
            changes = self._difference(new)
            if seen not in (None, changes.fingerprint):
                raise StateConflict("The config file has changed since you saw this plan; look at the new one.")
            self._change(changes, new)
        if not (quiet and changes.is_empty):
            self._announce(changes, actor)
        return changes

    def _difference(self, new: FleetConfig) -> ConfigDiff:
        return diff(self.running, new, stopped=self._supervisor.stopped())

    async def _read(self, actor: str) -> FleetConfig:
        try:
            return await asyncio.to_thread(self._load)
        except ConfigError as error:
            self._reject(error, actor)
            raise

    def _change(self, changes: ConfigDiff, new: FleetConfig) -> None:
        agents = {agent.id: agent for agent in new.agents}
        # Those that go come first: one that comes may want their port.
        for agent_id in changes.removed:
            self._supervisor.remove(agent_id)
        for change in changes.changed:
            self._supervisor.reconfigure(agents[change.id], restart=change.effect is Effect.RESTART)
        for agent_id in changes.added:
            self._supervisor.add(agents[agent_id])
        self._supervisor.reorder(list(agents))
        live = {name: getattr(new.runtime, name) for name in LIVE_RUNTIME_FIELDS}
        self._config = replace(self._config, runtime=self._config.runtime.model_copy(update=live))

    def _announce(self, changes: ConfigDiff, actor: str) -> None:
        self._bus.publish(
            EventKind.CONFIG_RELOADED,
            f"The config was reloaded: {changes.summary()}",
            actor=actor,
            added=list(changes.added),
            removed=list(changes.removed),
            restarting=list(changes.ids(Effect.RESTART)),
            changed=[*changes.ids(Effect.LIVE), *changes.ids(Effect.RELOAD), *changes.waiting],
            needs_manager_restart=list(changes.pending),
        )

    def _reject(self, error: ConfigError, actor: str) -> None:
        told = [str(issue) for issue in error.issues[:_ISSUES_TOLD]]
        more = len(error.issues) - len(told)
        rest = f"; and {more} more, which `agent-manager config check` lists" if more > 0 else ""
        self._bus.publish(
            EventKind.CONFIG_REJECTED,
            f"The changed config is wrong and was not taken, nothing changes: {'; '.join(told)}{rest}",
            actor=actor,
            source=error.source,
            errors=[asdict(issue) for issue in error.issues],
        )
