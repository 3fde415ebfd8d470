"""Starts a fork server: a process of its own session, which outlives the manager."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from agent_service.contract import ENV_FLEET
from agent_service.forkserver.profiles import EXIT_ALREADY_RUNNING, Profile

START_SECONDS = 30.0


class ForkServerUnavailable(Exception):
    """No fork server could be started; the message says why."""


async def start_fork_server(
    profile: Profile, socket_path: Path, log_file: Path, environ: Mapping[str, str], fleet: str
) -> None:
    """Return when it takes connections, or when another one already serves that path; it imports after that.

    Raises `ForkServerUnavailable`.
    """
    arguments = ("-m", "agent_service.forkserver", "--profile", profile, "--socket", str(socket_path))
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with log_file.open("ab") as log:
            starter = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=server_environment(environ, fleet),
            )
    except OSError as error:
        raise ForkServerUnavailable(f"The operating system refused to start it ({error}).") from error
    try:
        async with asyncio.timeout(START_SECONDS):
            status = await starter.wait()
    except TimeoutError as error:
        starter.kill()
        await starter.wait()
        raise ForkServerUnavailable(f"It did not start within {START_SECONDS:g} s; its log is {log_file}.") from error
    if status not in (0, EXIT_ALREADY_RUNNING):
        raise ForkServerUnavailable(f"It ended at its start with status {status}; the reason is in {log_file}.")


def server_environment(environ: Mapping[str, str], fleet: str) -> dict[str, str]:
    """The manager's environment, as its agents inherit it, but for what only the manager and each agent are told.

    What is forked shows it as its own, whatever it is told later: so it says which fleet that belongs to.
    """
    inherited = {name: value for name, value in environ.items() if not name.startswith(("AGENT_", "MANAGER_TOKEN"))}
    return {**inherited, ENV_FLEET: fleet}
