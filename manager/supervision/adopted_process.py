"""A process that an earlier manager started. It is not our child: its end is seen, its exit status is not."""

from __future__ import annotations

import asyncio
import os

import psutil

from manager.supervision import process_group
from manager.supervision.identity import is_running, may_lead_its_group
from manager.supervision.process import Exit, ProcessIdentity


class AdoptedProcess:
    """Watched by pidfd where there is one (Linux), else by a waiting thread."""

    def __init__(self, identity: ProcessIdentity) -> None:
        self._identity = identity
        loop = asyncio.get_running_loop()
        self._exited: asyncio.Future[Exit] = loop.create_future()
        self._watch(loop)

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

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        if not hasattr(os, "pidfd_open"):
            self._waiter = asyncio.create_task(self._wait(), name=f"wait for adopted pid {self._identity.pid}")
            return
        try:
            descriptor = os.pidfd_open(self._identity.pid)
        except ProcessLookupError:
            self._ended()
            return
        # The pid may have passed to a stranger between the check and the open: check again, holding the descriptor.
        if not is_running(self._identity):
            os.close(descriptor)
            self._ended()
            return
        loop.add_reader(descriptor, self._readable, loop, descriptor)

    def _readable(self, loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        self._ended()

    async def _wait(self) -> None:
        try:
            await asyncio.to_thread(psutil.Process(self._identity.pid).wait)
        except psutil.NoSuchProcess:
            pass
        self._ended()

    def _ended(self) -> None:
        if not self._exited.done():
            self._exited.set_result(Exit())
