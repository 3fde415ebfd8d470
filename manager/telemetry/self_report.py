"""The manager's own health in one answer: what API and dashboard tell of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import psutil
from pydantic import BaseModel, ConfigDict

from agent_service.contract import Timestamp
from manager.telemetry.series import MANAGER_SERIES, Series


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class StorageReport(_Part):
    """A directory that the manager writes to. `used_bytes`: of its files; `free_bytes`: of the disk, None: unknown."""

    path: str
    used_bytes: int
    free_bytes: int | None


class ForkServerReport(_Part):
    """One fork server. `retiring`: replaced, and gone with the last of its instances."""

    profile: str
    pid: int
    instances: int
    retiring: bool
    rss_bytes: int | None


class SelfReport(_Part):
    """Answer of `GET /api/manager`. Of the last ten seconds are `cpu_percent` (100: one core) to `open_streams`."""

    version: str
    pid: int
    started_at: Timestamp
    url: str
    config_path: str
    python: str
    system: str
    token_required: bool
    agents: int
    cpu_percent: float | None
    rss_bytes: float | None
    requests_per_second: float | None
    loop_lag_ms: float | None
    store_ms: float | None
    open_streams: float | None
    events_waiting: int
    """Events that are not on disk yet."""
    state: StorageReport
    logs: StorageReport
    fork_servers: list[ForkServerReport]


class RunningForkServer(Protocol):
    """What is known of a fork server without asking it."""

    @property
    def profile(self) -> str: ...

    @property
    def pid(self) -> int: ...

    @property
    def instances(self) -> int: ...

    @property
    def retiring(self) -> bool: ...


@dataclass(frozen=True)
class Identity:
    """What does not change while the manager runs. The directories are absolute."""

    version: str
    started_at: datetime
    url: str
    config_path: Path
    state_directory: Path
    log_directory: Path
    token_required: bool


class SelfReporter:
    """Looks when it is asked; what it reads from disk it reads in a thread."""

    def __init__(
        self,
        identity: Identity,
        *,
        newest: Callable[[], Series],
        agents: Callable[[], int],
        events_waiting: Callable[[], int],
        fork_servers: Callable[[], Sequence[RunningForkServer]],
    ) -> None:
        self._identity = identity
        self._newest = newest
        self._agents = agents
        self._events_waiting = events_waiting
        self._fork_servers = fork_servers

    async def read(self) -> SelfReport:
        """The report of this moment."""
        identity = self._identity
        servers = self._fork_servers()
        state, logs, reports = await asyncio.to_thread(self._look, servers)
        values = self._newest().values
        newest = {name: values[name][-1] if values.get(name) else None for name in MANAGER_SERIES}
        return SelfReport(
            version=identity.version,
            pid=os.getpid(),
            started_at=identity.started_at,
            url=identity.url,
            config_path=str(identity.config_path),
            python=platform.python_version(),
            system=f"{platform.system()} {platform.release()} {platform.machine()}",
            token_required=identity.token_required,
            agents=self._agents(),
            **newest,
            events_waiting=self._events_waiting(),
            state=state,
            logs=logs,
            fork_servers=reports,
        )

    def _look(
        self, servers: Iterable[RunningForkServer]
    ) -> tuple[StorageReport, StorageReport, list[ForkServerReport]]:
        return (
            _storage(self._identity.state_directory),
            _storage(self._identity.log_directory),
            [_fork_server(server) for server in servers],
        )


def _storage(directory: Path) -> StorageReport:
    free: int | None = None
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(directory).free
    return StorageReport(path=str(directory), used_bytes=_used(directory), free_bytes=free)


def _used(directory: Path) -> int:
    """Bytes of the files right in the directory; what goes away meanwhile counts as nothing."""
    total = 0
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                total += entry.stat(follow_symlinks=False).st_size if entry.is_file(follow_symlinks=False) else 0
    return total


def _fork_server(server: RunningForkServer) -> ForkServerReport:
    rss: int | None = None
    with contextlib.suppress(psutil.Error):
        rss = psutil.Process(server.pid).memory_info().rss
    return ForkServerReport(
        profile=server.profile,
        pid=server.pid,
        instances=server.instances,
        retiring=server.retiring,
        rss_bytes=rss,
    )
