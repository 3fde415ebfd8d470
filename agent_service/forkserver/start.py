"""Whether an instance can be started as it was asked for: found out before the fork, where it can still be told."""

from __future__ import annotations

import os
import resource
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent_service.accounts import Account, find_account
from agent_service.errors import ConfigError
from agent_service.forkserver.fixed import FixedVariables, differing
from agent_service.forkserver.wire import Spawn, unpack
from agent_service.limits import resource_limits


class Refused(Exception):
    """The instance cannot be started. The message is a sentence that tells the reader what to do.

    `stale`: another fork server could. `permanent`: nobody can until a person has mended something.
    """

    def __init__(self, detail: str, *, stale: bool = False, permanent: bool = False) -> None:
        super().__init__(detail)
        self.stale = stale
        self.permanent = permanent


@dataclass(frozen=True)
class Start:
    """A checked `Spawn`. `is_fork`: an adapter that goes on in the forked process; anything else is executed."""

    agent_id: str
    instance_id: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    directory: str
    log: int
    is_adapter: bool
    is_fork: bool
    limits: Mapping[int, tuple[int, int]]
    account: Account | None


def prepare(wanted: Spawn, fixed: FixedVariables) -> Start:
    """Check, and open the log file, which the caller closes. Raises `Refused`.

    `fixed`: what a fork of this process cannot be given any more; who wants it otherwise gets a fresh interpreter. So
    does an agent of another user, who is not to find our memory in its own.
    """
    environment = unpack(wanted.environment)
    if not os.path.isdir(wanted.directory):
        raise Refused(f"The working directory {wanted.directory!r} is not there; make it, or correct its place.")
    account = _account(wanted.user)
    switches = account is not None and account.must_switch
    is_adapter = wanted.argv[:3] == (sys.executable, "-m", "agent_service")
    is_fork = is_adapter and not switches and not differing(fixed, environment)
    if not is_fork:
        _require_program(wanted.argv[0], wanted.directory, environment)
    return Start(
        agent_id=wanted.agent_id,
        instance_id=wanted.instance_id,
        argv=wanted.argv,
        environment=environment,
        directory=wanted.directory,
        is_adapter=is_adapter,
        is_fork=is_fork,
        limits=_limits(wanted),
        account=account,
        log=_open_log(wanted.log_file),
    )


def _require_program(program: str, directory: str, environment: Mapping[str, str]) -> None:
    # A path with a slash is relative to the agent's working directory, not to ours.
    path = os.path.join(directory, program) if os.sep in program else program
    if shutil.which(path, path=os.pathsep.join(os.get_exec_path(dict(environment)))) is None:
        raise Refused(
            f"The program {program!r} is not there or may not be executed; check the command and the PATH.",
            permanent=True,
        )


def _limits(wanted: Spawn) -> dict[int, tuple[int, int]]:
    limits = resource_limits(wanted.cpu_seconds, wanted.open_files)
    for kind, (_, limit) in limits.items():
        most = resource.getrlimit(kind)[1]
        if most != resource.RLIM_INFINITY and limit > most and os.geteuid() != 0:
            raise Refused(
                f"A limit of {limit} is asked for and this system allows {most} at the most; lower it in limits.",
                permanent=True,
            )
    return limits


def _account(user: str | None) -> Account | None:
    if user is None:
        return None
    try:
        return find_account(user)
    except ConfigError as error:
        raise Refused(str(error), permanent=True) from error


def _open_log(path: str) -> int:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise Refused(f"The log file {path!r} cannot be opened ({error.strerror}); check the log directory.") from error
