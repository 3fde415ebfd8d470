"""One profile's fork server as the manager sees it: found or started, replaced when it has gone or is out of date."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from agent_service.descendants import end_left_behind
from agent_service.forkserver.fixed import differing
from agent_service.forkserver.profiles import Profile
from agent_service.forkserver.wire import (
    Acknowledge,
    Answer,
    ExitNotice,
    Lend,
    Lent,
    Listing,
    ListInstances,
    Release,
    RunningInstance,
    Shutdown,
    Spawn,
    Spawned,
    pack,
    unpack,
)
from manager.errors import SpawnFailed, StartImpossible
from manager.supervision.adopted_process import SWEEP_SECONDS, ForkedProcess
from manager.supervision.fork_server_client import ConnectionLost, ForkServerClient, RequestRefused
from manager.supervision.fork_server_start import ForkServerUnavailable, start_fork_server
from manager.supervision.identity import identity_now
from manager.supervision.process import Exit, Launch, ProcessIdentity
from manager.tasks import TaskOwner

_SPAWN_TRIES = 3
# While packages are installed or upgraded one server after the other is out of date.
_STALE_SECONDS = 60.0
_CONNECT_TRIES = 40
_CONNECT_PAUSE_SECONDS = 0.05
_END_SECONDS = 5.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ForkServerView:
    """One server that is there. `retiring`: it starts no more instances and ends with the last of its own."""

    profile: Profile
    pid: int
    instances: int
    retiring: bool


class ForkServer:
    """Owns the connection. A server that was replaced stays connected until the last of its instances has ended."""

    def __init__(
        self, profile: Profile, socket_path: Path, log_file: Path, environ: Mapping[str, str], fleet: str
    ) -> None:
        self._profile = profile
        self._path = socket_path
        self._log_file = log_file
        self._environ = environ
        self._fleet = fleet
        self._client: ForkServerClient | None = None
        self._opening: asyncio.Task[ForkServerClient] | None = None
        self._finding = asyncio.Lock()
        self._connected: set[ForkServerClient] = set()
        self._processes: dict[str, tuple[ForkServerClient, ForkedProcess]] = {}
        self._tasks = TaskOwner()
        self._is_closing = False
        self.exits: dict[str, ExitNotice] = {}
        """Of instances that nobody here has started or adopted."""
        self._strays: dict[str, tuple[ForkServerClient, RunningInstance]] = {}

    async def find(self) -> bool:
        """Connect to a server that is there; false where there is none."""
        async with self._finding:
            if self._client is None:
                try:
                    await self._connect()
                except (OSError, ConnectionLost):
                    return False
            return self._client is not None

    async def spawn(self, launch: Launch, listener: socket.socket | None) -> tuple[ForkedProcess, socket.socket | None]:
        """The new process, and the agent's public listener if the server has bound it: for the caller to keep.

        Raises `SpawnFailed` where the start is refused, `ForkServerUnavailable` where there is nobody to ask.
        """
        give_up = asyncio.get_running_loop().time() + _STALE_SECONDS
        broken = 0
        while broken < _SPAWN_TRIES:
            client = await self._ready()
            try:
                spawned, received = await client.call_for_listener(_request(launch), Spawned, listener)
            except RequestRefused as error:
                if not error.refusal.stale:
                    kind = StartImpossible if error.refusal.permanent else SpawnFailed
                    raise kind(error.refusal.detail, agent_id=launch.agent_id) from error
                log.info("Fork server is replaced", profile=self._profile, reason=error.refusal.detail)
                self._retire(client)
                if asyncio.get_running_loop().time() >= give_up:
                    raise ForkServerUnavailable("What it has imported goes on changing on disk.") from error
            except ConnectionLost:
                broken += 1
                if (process := await self._recovered(launch, client)) is not None:
                    return process, None
            else:
                identity = identity_now(spawned.pid, spawned.created_at)
                return self._keep(launch.instance_id, identity, client), received
        raise ForkServerUnavailable("It ended again and again while it was asked to start an agent.")

    def adopt(self, identity: ProcessIdentity, instance_id: str) -> ForkedProcess | None:
        """The process, if the server still tells of it."""
        if instance_id in self.exits:
            return self._ended(instance_id, identity)
        client, _ = self._strays.pop(instance_id, (None, None))
        return None if client is None else self._keep(instance_id, identity, client)

    def knows(self, instance_id: str) -> bool:
        """Whether it lives under this server, or has told of its end."""
        return instance_id in self._processes or instance_id in self._strays or instance_id in self.exits

    @property
    def strays(self) -> list[RunningInstance]:
        """Instances that live and that nobody here has started or adopted."""
        return [instance for _, instance in self._strays.values()]

    def views(self) -> list[ForkServerView]:
        """The server, and those that it has replaced, as long as they are connected."""
        return [
            ForkServerView(
                self._profile,
                client.pid,
                sum(owner is client for owner, _ in self._processes.values()),
                retiring=client is not self._client,
            )
            for client in self._connected
        ]

    async def borrow(self, agent_id: str, port: int) -> socket.socket | None:
        """A descriptor of the agent's public listener, where a server that was there before us holds it."""
        for client in tuple(self._connected):
            try:
                _, listener = await client.call_for_listener(Lend(id=0, agent_id=agent_id, port=port), Lent)
            except (ConnectionLost, RequestRefused):
                continue
            if listener is not None:
                return listener
        return None

    async def release(self, agent_id: str) -> None:
        """Have the agent's public listener closed."""
        for client in tuple(self._connected):
            try:
                await client.call(Release(id=0, agent_id=agent_id), Answer)
            except (ConnectionLost, RequestRefused):
                continue

    def forget(self, instance_id: str) -> None:
        """The exit of this instance need not be kept any longer."""
        self.exits.pop(instance_id, None)
        for client in tuple(self._connected):
            client.tell(Acknowledge(id=0, instance_ids=(instance_id,)))

    async def close(self, *, leave_running: bool) -> None:
        """Hang up; without `leave_running` the server ends, at once if none of its instances lives."""
        self._is_closing = True
        if self._opening is not None:
            self._opening.cancel()
        clients = tuple(self._connected)
        if not leave_running:
            for client in clients:
                client.tell(Shutdown(id=0))
            if clients:
                await asyncio.wait([client.lost for client in clients], timeout=_END_SECONDS)
        for client in clients:
            client.close()
        await self._tasks.close()

    async def _ready(self) -> ForkServerClient:
        """The connection; several who ask at once share one start. Raises `ForkServerUnavailable`."""
        if self._client is not None:
            return self._client
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(), name=f"open fork server {self._profile}")
            self._opening.add_done_callback(self._opened)
        return await asyncio.shield(self._opening)

    async def _open(self) -> ForkServerClient:
        if not await self.find():
            await start_fork_server(self._profile, self._path, self._log_file, self._environ, self._fleet)
        for _ in range(_CONNECT_TRIES):
            # Another one may hold the path that is just about to give it up, or just about to listen.
            if await self.find() and self._client is not None:
                return self._client
            await asyncio.sleep(_CONNECT_PAUSE_SECONDS)
        raise ForkServerUnavailable(f"Nobody answers at {self._path}; the log is {self._log_file}.")

    def _opened(self, task: asyncio.Task[ForkServerClient]) -> None:
        self._opening = None
        if not task.cancelled():
            # Whoever waited has it too; nobody may have.
            task.exception()

    async def _connect(self) -> None:
        """Raises OSError where none listens, `ConnectionLost` where it goes away again."""
        client = ForkServerClient(self._path, self._note_exit)
        self._connected.add(client)
        client.lost.add_done_callback(lambda _: self._lost(client))
        try:
            listing = await client.call(ListInstances(id=0), Listing)
        except ConnectionLost:
            client.close()
            raise
        # What nobody here knows is an earlier manager's; what is known was cut off a moment ago.
        for instance in listing.instances:
            if instance.instance_id in self._processes:
                self._processes[instance.instance_id] = client, self._processes[instance.instance_id][1]
            else:
                self._strays[instance.instance_id] = client, instance
        if names := differing(unpack(listing.fixed), self._environ):
            log.info("Fork server is replaced", profile=self._profile, reason=f"other values of {', '.join(names)}")
            self._retire(client)
        else:
            self._client = client

    def _retire(self, client: ForkServerClient) -> None:
        client.tell(Shutdown(id=0))
        if self._client is client:
            self._client = None

    def _keep(self, instance_id: str, identity: ProcessIdentity, client: ForkServerClient) -> ForkedProcess:
        if instance_id in self.exits:
            return self._ended(instance_id, identity)
        process = ForkedProcess(identity, instance_id)
        self._processes[instance_id] = client, process
        if client.lost.done():
            self._lost(client)
        return process

    def _ended(self, instance_id: str, identity: ProcessIdentity) -> ForkedProcess:
        """A process that has ended before it was ours."""
        process = ForkedProcess(identity, instance_id)
        process.end(exit_of(self.exits.pop(instance_id)))
        return process

    def _note_exit(self, notice: ExitNotice) -> None:
        self._strays.pop(notice.instance_id, None)
        _, process = self._processes.pop(notice.instance_id, (None, None))
        if process is None:
            self.exits[notice.instance_id] = notice
        else:
            process.end(exit_of(notice))

    def _lost(self, client: ForkServerClient) -> None:
        self._connected.discard(client)
        if self._client is client:
            self._client = None
        self._strays = {key: found for key, found in self._strays.items() if found[0] is not client}
        if not self._is_closing:
            self._tasks.start(f"fork server {self._profile} was lost", self._after_loss(client), may_end=True)

    async def _after_loss(self, client: ForkServerClient) -> None:
        """Perhaps only the connection broke. Otherwise its children go on without it, and are watched from here."""
        if not any(owner is client for owner, _ in self._processes.values()):
            return
        await self.find()
        orphans = {key: process for key, (owner, process) in self._processes.items() if owner is client}
        if orphans:
            log.warning("Fork server has gone; its agents go on", profile=self._profile, instances=len(orphans))
        for instance_id, process in orphans.items():
            del self._processes[instance_id]
            process.watch()

    async def _recovered(self, launch: Launch, client: ForkServerClient) -> ForkedProcess | None:
        """After a connection broke during a start: the process, if that server has it; else surely there is none."""
        client.close()
        await self.find()
        if (found := self._strays.pop(launch.instance_id, None)) is not None:
            owner, running = found
            return self._keep(launch.instance_id, identity_now(running.pid, running.created_at), owner)
        if (notice := self.exits.get(launch.instance_id)) is not None:
            return self._ended(launch.instance_id, identity_now(notice.pid, ""))
        await asyncio.to_thread(end_left_behind, launch.instance_id, None, timeout_seconds=SWEEP_SECONDS)
        return None


def exit_of(notice: ExitNotice) -> Exit:
    """How the instance ended, in the manager's terms."""
    return Exit(notice.code, notice.signal)


def _request(launch: Launch) -> Spawn:
    return Spawn(
        id=0,
        agent_id=launch.agent_id,
        instance_id=launch.instance_id,
        argv=launch.argv,
        environment=pack(launch.environment),
        directory=str(launch.directory.absolute()),
        log_file=str(launch.log_file.absolute()),
        public_port=launch.public_port,
        cpu_seconds=launch.limits.cpu_seconds,
        open_files=launch.limits.open_files,
        user=launch.user,
    )
