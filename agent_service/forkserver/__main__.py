"""`python -m agent_service.forkserver`: starts one fork server, which goes on by itself in a session of its own.

Exit status, as soon as it is known: 0 its socket takes connections, its imports follow · 1 failed · 2 wrong usage ·
75 another one serves this socket path. Its log is what stdout and stderr are. For Linux.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agent_service.forkserver.fixed import fixed_variables, names_read
from agent_service.forkserver.linux import Mark, become_subreaper, ensure_mark_space
from agent_service.forkserver.profiles import EXIT_ALREADY_RUNNING, PROFILES, Profile

if TYPE_CHECKING:
    import structlog

    from agent_service.forkserver.door import Door
    from agent_service.forkserver.preload import Snapshot


def main() -> None:
    """Start the server; in the server, serve."""
    options = _options()
    ensure_mark_space()
    starter = detach()
    # Imports may change it.
    environment = dict(os.environ)
    # Everything else is imported in here, so that no variable is read unseen.
    with names_read() as names:
        prepared = _prepare(options.profile, options.socket.absolute(), starter)
    if prepared is None:
        return
    from agent_service.cgroup import find_cgroups
    from agent_service.forkserver.preload import freeze
    from agent_service.forkserver.server import ForkServer

    cgroups = find_cgroups()
    # A server that was killed could not take its own away.
    cgroups.remove_empty()
    server = ForkServer(*prepared, Mark(), fixed_variables(names, environment), cgroups)
    freeze()
    server.run()


def detach() -> int:
    """Go on in a child that nobody waits for; the parent ends with the status that is written to the answered pipe."""
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        said = os.read(reading, 1)
        os._exit(said[0] if said else 1)
    os.close(reading)
    os.setsid()
    return writing


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m agent_service.forkserver",
        description="Fork adapters from a process that has imported what they need.",
        allow_abbrev=False,
    )
    parser.add_argument("--profile", choices=PROFILES, required=True, help="what to import")
    parser.add_argument(
        "--socket", type=Path, required=True, help="Unix socket to serve at, in a directory of its own, made if missing"
    )
    return parser.parse_args()


def _prepare(profile: Profile, path: Path, starter: int) -> tuple[Door, Snapshot] | None:
    """Listen and import; None where there is nothing to serve, which the starter has been told."""
    from agent_service.forkserver.door import AlreadyServed, Door
    from agent_service.forkserver.preload import Snapshot, preload

    # 1. What is imported from here on is compared with what is on disk later.
    snapshot = Snapshot()
    # 2. Listen before the slow part: managers wait in the backlog, and a second server sees at once that it is one.
    try:
        door = Door(path)
    except (AlreadyServed, OSError) as error:
        sys.stderr.write(f"{error}\n")
        os.write(starter, bytes([EXIT_ALREADY_RUNNING if isinstance(error, AlreadyServed) else 1]))
        return None
    os.write(starter, b"\0")
    os.close(starter)
    become_subreaper()
    # 3. Import.
    log = _open_log(profile)
    preload(profile)
    from agent_service.forkserver.rehearsal import rehearse

    rehearse(profile)
    log.info("Fork server ready", profile=profile, socket=str(path))
    return door, snapshot


def _open_log(profile: Profile) -> structlog.stdlib.BoundLogger:
    import structlog
    from setproctitle import setproctitle

    from agent_service.logs import configure_logging

    setproctitle(f"agent-manager fork server: {profile}")
    configure_logging(agent_id=f"fork-server.{profile}", instance_id=str(os.getpid()))
    # A logger that is remembered would write with the server's name in its children.
    structlog.configure(cache_logger_on_first_use=False)
    log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)
    return log


if __name__ == "__main__":
    main()
