"""Processes that are not our children: their ends are told by their fork server, or seen from outside."""

from __future__ import annotations

import asyncio

import psutil

from agent_service.descendants import end_left_behind
from manager.supervision import process_group
from manager.supervision.exit_watch import watch_exit
from manager.supervision.identity import is_running, may_lead_its_group
from manager.supervision.process import Exit, ProcessIdentity

SWEEP_SECONDS = 5.0


class ForkedProcess:
    """A fork server's child. Whoever hears of its end calls `end`; when there is no server any more, `watch`."""

    def __init__(self, identity: ProcessIdentity, instance_id: str | None) -> None:
        self._identity = identity
        self._instance_id = instance_id
        self._exited: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._sweep: asyncio.Task[None] | None = None

    @property
    def identity(self) -> ProcessIdentity:
        return self._identity

    @property
    def exited(self) -> asyncio.Future[Exit]:
        return self._exited

    def terminate(self) -> None:
        if is_running(self._identity):
            process_group.terminate(self._identity.pid)

    def kill(self) -> None:
        if may_lead_its_group(self._identity):
            process_group.kill_group(self._identity.pid)
        # In its first moments it does not lead a group yet.
        if is_running(self._identity):
            process_group.kill(self._identity.pid)

    def end(self, exit_: Exit) -> None:
        """It has ended like this; only the first word counts."""
        if not self._exited.done():
            self._exited.set_result(exit_)

    def watch(self) -> None:
        """Its end is seen from now on, its exit status is not."""
        pid = self._identity.pid
        watch_exit(pid, lambda: is_running(self._identity), lambda: _wait(pid), self._gone)

    def _gone(self) -> None:
        if self._instance_id is None:
            self.end(Exit())
        else:
            self._sweep = asyncio.create_task(self._sweep_up(self._instance_id), name=f"sweep {self._instance_id}")

    async def _sweep_up(self, instance_id: str) -> None:
        self.kill()
        await asyncio.to_thread(end_left_behind, instance_id, self._identity.pid, timeout_seconds=SWEEP_SECONDS)
        self.end(Exit())


class AdoptedProcess(ForkedProcess):
    """A process that an earlier manager started, and of whose end nobody tells."""

    def __init__(self, identity: ProcessIdentity, instance_id: str | None = None) -> None:
        super().__init__(identity, instance_id)
        self.watch()


def _wait(pid: int) -> None:
    try:
        psutil.Process(pid).wait()
    except psutil.NoSuchProcess:
        return
