"""What every agent's supervision works with; made once, where the manager is wired."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from manager.adapter_client import AdapterClient
from manager.clock import Clock
from manager.events import EventBus
from manager.registry.registry import Registry
from manager.registry.routing import Router
from manager.store.store import Store
from manager.supervision.dependencies import Dependencies
from manager.supervision.launching import Launcher
from manager.supervision.process import Spawner


@dataclass(frozen=True)
class Tools:
    """`last_words` (agent id, log offset at the start) says why a process died, as far as its log tells.

    `announce_stacks` (agent id, instance id) writes into the agent's log that stacks follow.
    `listening` (pid): the URLs at which that process would answer HTTP.
    `tell_tracing` (agent id, service URL) tells an adapter what a person has set of its traces.
    `silence_limit_seconds`: for so long an instance may be unresponsive before it is killed.
    """

    clock: Clock
    bus: EventBus
    registry: Registry
    router: Router
    store: Store
    spawner: Spawner
    launcher: Launcher
    adapters: AdapterClient
    last_words: Callable[[str, int], str | None]
    log_size: Callable[[str], int]
    announce_stacks: Callable[[str, str], None]
    listening: Callable[[int], Awaitable[list[str]]]
    tell_tracing: Callable[[str, str], Awaitable[None]]
    kill_grace_seconds: float
    silence_limit_seconds: float
    dependencies: Dependencies = field(default_factory=Dependencies)
