"""Starts each instance as a fresh process. Works everywhere; the manager is its parent and is told of its end."""

from __future__ import annotations

import asyncio
import errno
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, BinaryIO

import structlog

from agent_service.accounts import find_account
from agent_service.contract import ENV_LISTEN_FD, ENV_PORT
from agent_service.descendants import end_left_behind, instances_of
from agent_service.errors import AdapterError, ConfigError
from agent_service.http.listeners import PublicListeners
from agent_service.limits import resource_limits
from manager.errors import SpawnFailed, StartImpossible
from manager.supervision import process_group
from manager.supervision.adopted_process import SWEEP_SECONDS, AdoptedProcess
from manager.supervision.exit_watch import watch_exit
from manager.supervision.identity import identify, identity_of, may_lead_its_group
from manager.supervision.process import Exit, Launch, Process, ProcessIdentity, ProcessLimits
from manager.supervision.shared_port import PortKept, take_listener

log = structlog.get_logger(__name__)

_PROGRAM_ERRORS = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ENOEXEC})


class ExecSpawner:
    """Processes write straight into their log file: no pipe that could fill, nothing lost when the manager dies.

    Agents' public listeners are bound and kept here; where they cannot be handed down (Windows), an adapter is told
    its port and binds it by itself.
    """

    shares_ports = sys.platform != "win32"

    def __init__(self, listeners: PublicListeners | None = None, fleet: str | None = None) -> None:
        self._listeners = listeners or PublicListeners()
        self._fleet = fleet
        self._children: set[_Child] = set()
        self._found: dict[str, ProcessIdentity] = {}

    async def spawn(self, launch: Launch) -> Process:
        """Start an instance. Raises `SpawnFailed`."""
        environment, options = self._public_port(launch)
        try:
            launch.log_file.parent.mkdir(parents=True, exist_ok=True)
            with launch.log_file.open("ab") as log:
                process = _start(launch, environment, log, {**options, **_user_options(launch.user)})
        except ConfigError as error:
            raise StartImpossible(str(error), agent_id=launch.agent_id) from error
        except (OSError, ValueError) as error:
            kind = StartImpossible if _is_about_the_program(error, launch) else SpawnFailed
            raise kind(
                f"The operating system refused to start {launch.argv[0]!r} ({error}); "
                "check the command, its permissions and the log directory.",
                agent_id=launch.agent_id,
            ) from error
        _limit(process.pid, launch.limits)
        child = _Child(process, launch.instance_id)
        self._children.add(child)
        child.exited.add_done_callback(lambda _: self._children.discard(child))
        return child

    def adopt(self, identity: ProcessIdentity, instance_id: str) -> Process:
        """Take back a process that an earlier manager started."""
        self._found.pop(instance_id, None)
        return AdoptedProcess(identity, instance_id)

    async def collect(self) -> dict[str, Exit]:
        """No exits: who is our child died unseen when we were not there. What lives is found by what it was told."""
        if self._fleet is not None:
            living = await asyncio.to_thread(instances_of, self._fleet)
            self._found = {instance_id: identity_of(stat) for instance_id, stat in living.items()}
        return {}

    def strays(self) -> Mapping[str, tuple[str | None, ProcessIdentity]]:
        """What `collect` has found and nobody has adopted."""
        return {instance_id: (None, identity) for instance_id, identity in self._found.items()}

    def forget(self, instance_id: str) -> None:
        """Nothing is kept of an instance that has ended."""

    async def reclaim(self, agent_id: str, port: int, identity: ProcessIdentity) -> bool:
        """Whether successors can share the agent's port with this adopted process, which may listen there."""
        try:
            listener = await asyncio.to_thread(take_listener, identity, port)
        except PortKept as error:
            log.warning(
                "Public port cannot be shared with an adopted process", agent_id=agent_id, port=port, reason=str(error)
            )
            return False
        if listener is not None:
            self._listeners.keep(agent_id, listener)
        return True

    async def release(self, agent_id: str) -> None:
        """Close the agent's public listener."""
        self._listeners.release(agent_id)

    async def aclose(self, *, leave_running: bool) -> None:
        """Close every public listener; processes that run are left as they are."""
        self._listeners.close()
        for child in self._children:
            child.leave()

    def _public_port(self, launch: Launch) -> tuple[dict[str, str], dict[str, Any]]:
        """The environment and the options that give the process its public port. Raises `SpawnFailed`."""
        if launch.public_port is None:
            return launch.environment, {}
        if sys.platform == "win32":
            return {**launch.environment, ENV_PORT: str(launch.public_port)}, {}
        try:
            descriptor = self._listeners.take(launch.agent_id, launch.public_port).fileno()
        except AdapterError as error:
            raise SpawnFailed(str(error), agent_id=launch.agent_id) from error
        return {**launch.environment, ENV_LISTEN_FD: str(descriptor)}, {"pass_fds": (descriptor,)}


def _start(
    launch: Launch, environment: dict[str, str], log: BinaryIO, options: dict[str, Any]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        launch.argv,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd=launch.directory,
        env=environment,
        **options,
        **process_group.session_options(),
    )


def _is_about_the_program(error: OSError | ValueError, launch: Launch) -> bool:
    """Rather than about memory, the number of processes, the log or the working directory, which may pass."""
    if not isinstance(error, OSError) or error.errno not in _PROGRAM_ERRORS:
        return False
    # Windows names no file.
    return error.filename in (None, launch.argv[0]) and launch.directory.is_dir()


def _user_options(user: str | None) -> dict[str, Any]:
    account = find_account(user) if user is not None else None
    if account is None or not account.must_switch:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": account.groups}


class _Child:
    def __init__(self, process: subprocess.Popen[bytes], instance_id: str) -> None:
        self._process = process
        self._instance_id = instance_id
        self._identity = identify(process.pid)
        self._exited: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._sweep: asyncio.Task[None] | None = None
        self._is_left = False
        # As long as we have not collected its exit status, its number is nobody else's.
        watch_exit(process.pid, lambda: True, process.wait, self._ended)

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

    def leave(self) -> None:
        """It goes on without us; Popen would complain that nobody has waited for it."""
        if self._process.returncode is None:
            self._is_left = True
            self._process.returncode = 0

    def _ended(self) -> None:
        self.kill()
        if self._is_left:
            self._process.returncode = None
        exit_ = Exit.from_returncode(self._process.wait())
        self._sweep = asyncio.create_task(self._sweep_up(exit_), name=f"sweep {self._instance_id}")

    async def _sweep_up(self, exit_: Exit) -> None:
        await asyncio.to_thread(end_left_behind, self._instance_id, self._identity.pid, timeout_seconds=SWEEP_SECONDS)
        if not self._exited.done():
            self._exited.set_result(exit_)


if sys.platform == "linux":
    import resource

    def _limit(pid: int, limits: ProcessLimits) -> None:
        for kind, soft_and_hard in resource_limits(limits.cpu_seconds, limits.open_files).items():
            with suppress(ProcessLookupError):
                resource.prlimit(pid, kind, soft_and_hard)

else:

    def _limit(pid: int, limits: ProcessLimits) -> None:
        """Only Linux sets limits from outside, and code between fork and exec is not safe in a threaded manager."""
