"""Starts each instance as a fresh process. Works everywhere; the manager is its parent and is told of its end."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Any

from manager.errors import SpawnFailed
from manager.supervision import process_group
from manager.supervision.identity import identify, may_lead_its_group
from manager.supervision.process import Exit, Launch, Process, ProcessIdentity


class ExecSpawner:
    """Processes write straight into their log file: no pipe that could fill, nothing lost when the manager dies."""

    async def spawn(self, launch: Launch) -> Process:
        """Start an instance. Raises `SpawnFailed`."""
        options: dict[str, Any] = process_group.session_options()
        try:
            launch.log_file.parent.mkdir(parents=True, exist_ok=True)
            with launch.log_file.open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *launch.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=launch.directory,
                    env=launch.environment,
                    **options,
                )
        except (OSError, ValueError) as error:
            raise SpawnFailed(
                f"The operating system refused to start {launch.argv[0]!r} ({error}); "
                "check the command, its permissions and the log directory.",
                agent_id=launch.agent_id,
            ) from error
        return _Child(process)


class _Child:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._identity = identify(process.pid)
        self._exited: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._waiter = asyncio.create_task(self._wait(), name=f"wait for pid {process.pid}")

    @property
    def identity(self) -> ProcessIdentity:
        return self._identity

    @property
    def exited(self) -> asyncio.Future[Exit]:
        return self._exited

    def terminate(self) -> None:
        # Once the exit is collected the pid may be another's.
        if self._process.returncode is None:
            process_group.terminate(self._process.pid)

    def kill(self) -> None:
        if may_lead_its_group(self._identity):
            process_group.kill_group(self._process.pid)

    async def _wait(self) -> None:
        returncode = await self._process.wait()
        if not self._exited.done():
            self._exited.set_result(Exit.from_returncode(returncode))
