"""`python -m agent_service.forkserver`: starts one fork server, which goes on by itself in a session of its own.

Exit status, as soon as it is known: 0 its socket takes connections, its imports follow · 1 failed · 2 wrong usage ·
75 another one serves this socket path. Its log is what stdout and stderr are. For Linux.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from agent_service.forkserver.linux import ensure_mark_space
from agent_service.forkserver.wire import EXIT_ALREADY_RUNNING, PROFILES, Profile, interpreter_settings


def main() -> None:
    """Start the server; in the server, serve."""
    options = _options()
    ensure_mark_space()
    _serve(options.profile, options.socket, detach())


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


def _serve(profile: Profile, path: Path, starter: int) -> None:
    # Imported as late as this, for they take longer than the start over that may come before.
    import structlog
    from setproctitle import setproctitle

    from agent_service.forkserver.door import AlreadyServed, Door
    from agent_service.forkserver.linux import Mark, become_subreaper
    from agent_service.forkserver.preload import Snapshot, preload
    from agent_service.forkserver.server import ForkServer
    from agent_service.logs import configure_logging

    # 1. Listen before the slow part: managers wait in the backlog, and a second server sees at once that it is one.
    snapshot = Snapshot()
    try:
        door = Door(path.absolute())
    except (AlreadyServed, OSError) as error:
        sys.stderr.write(f"{error}\n")
        os.write(starter, bytes([EXIT_ALREADY_RUNNING if isinstance(error, AlreadyServed) else 1]))
        return
    os.write(starter, b"\0")
    os.close(starter)
    configure_logging(agent_id=f"fork-server.{profile}", instance_id=str(os.getpid()))
    log = structlog.stdlib.get_logger(__name__)
    mark = Mark()
    setproctitle(f"agent-manager fork server: {profile}")
    become_subreaper()
    # 2. Import.
    preload(profile)
    log.info("Fork server ready", profile=profile, socket=str(path))
    # 3. Fork.
    ForkServer(door, mark, snapshot, interpreter_settings(os.environ)).run()


if __name__ == "__main__":
    main()
