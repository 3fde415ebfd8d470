"""Processes that the test ends, and the spawner that starts them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from manager.supervision.process import Exit, Launch, ProcessIdentity


class FakeProcess:
    """Ends when the test says so; obeys SIGTERM and SIGKILL unless told otherwise. `signals` are those sent to it."""

    def __init__(self, pid: int, *, on_terminate: Exit | None = None, survives_kill: bool = False) -> None:
        self.identity = ProcessIdentity(pid=pid, created_at=str(pid * 10), boot_id="boot")
        self.exited: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self.on_terminate = on_terminate
        self.survives_kill = survives_kill
        self.signals: list[str] = []
        self.is_swept = False
        """Whether what it left in its process group was ended after it."""

    def end(self, code: int | None = None, signal: int | None = None) -> None:
        """The process is over."""
        if not self.exited.done():
            self.exited.set_result(Exit(code=code, signal=signal))

    def terminate(self) -> None:
        self.signals.append("TERM")
        if self.on_terminate is not None:
            self.end(self.on_terminate.code, self.on_terminate.signal)

    def kill(self) -> None:
        if self.exited.done():
            self.is_swept = True
            return
        self.signals.append("KILL")
        if not self.survives_kill:
            self.end(signal=9)


class FakeSpawner:
    """Starts `FakeProcess`es. `hold` keeps a spawn waiting, `error` refuses it, `on_spawn` runs before it returns."""

    shares_ports = False

    def __init__(self) -> None:
        self.launches: list[Launch] = []
        self.processes: list[FakeProcess] = []
        self.hold: asyncio.Event | None = None
        self.error: Exception | None = None
        self.on_spawn: Callable[[Launch, FakeProcess], None] = lambda _launch, _process: None
        self.on_terminate: Exit | None = Exit(code=0)
        self.exits: dict[str, Exit] = {}
        self.left_behind: dict[str, tuple[str, ProcessIdentity]] = {}
        self.adopted: list[FakeProcess] = []
        self.forgotten: list[str] = []
        self.released: list[str] = []
        self.can_reclaim = True
        self.reclaimed: list[tuple[str, int, int]] = []

    async def collect(self) -> dict[str, Exit]:
        return self.exits

    def adopt(self, identity: ProcessIdentity, instance_id: str) -> FakeProcess:
        self.adopted.append(FakeProcess(identity.pid))
        return self.adopted[-1]

    def strays(self) -> dict[str, tuple[str, ProcessIdentity]]:
        return self.left_behind

    def forget(self, instance_id: str) -> None:
        self.forgotten.append(instance_id)

    async def reclaim(self, agent_id: str, port: int, identity: ProcessIdentity) -> bool:
        self.reclaimed.append((agent_id, port, identity.pid))
        return self.can_reclaim

    async def release(self, agent_id: str) -> None:
        self.released.append(agent_id)

    async def aclose(self, *, leave_running: bool) -> None:
        return None

    async def spawn(self, launch: Launch) -> FakeProcess:
        self.launches.append(launch)
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error
        process = FakeProcess(100 + len(self.processes), on_terminate=self.on_terminate)
        self.processes.append(process)
        self.on_spawn(launch, process)
        # What the process does at once can overtake the news that it was started.
        await asyncio.sleep(0.001)
        return process
