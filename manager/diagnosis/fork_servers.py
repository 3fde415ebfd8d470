"""The fork servers: whether they answer, how many agents they look after, and whether they are out of date."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from agent_service.forkserver.address import short_name
from agent_service.forkserver.profiles import PROFILES
from agent_service.forkserver.wire import Listing, ListInstances
from manager.diagnosis.finding import Finding, error, warning, well
from manager.diagnosis.surroundings import Surroundings

# One that imports takes connections already and answers later.
ANSWER_SECONDS = 5.0


def check_fork_servers(around: Surroundings) -> Iterator[Finding]:
    """One for each profile, where the system has what they need."""
    if around.config is None or sys.platform != "linux":
        return
    for profile in PROFILES:
        yield _judged(profile, around.config.state_directory / "forkserver" / f"{profile}.sock")


def _judged(profile: str, path: Path) -> Finding:
    if not path.exists():
        return well("fork server", f"{profile}: not running; it starts with the first agent that needs it")
    try:
        listing = _asked(path)
    except TimeoutError:
        message = f"{profile}: it does not answer; it imports still, or hangs"
        return error("fork server", message, "try again in a minute; else end its process, and its agents go on")
    except OSError:
        message = f"{profile}: it has ended without a word, so nobody listens at {path}"
        return warning("fork server", message, "nothing: its agents go on, and the next start makes a new one")
    except ValidationError:
        message = f"{profile}: what listens at {path} is no fork server of this version"
        return error("fork server", message, "stop the manager of the other version, or set another `stateDirectory`")
    count = f"{len(listing.instances)} process{'' if len(listing.instances) == 1 else 'es'}"
    if listing.stale:
        message = f"{profile}: what it has imported was changed on disk; it looks after {count}"
        return warning(
            "fork server", message, "nothing: the next start makes a new one; restart agents to run new code"
        )
    return well("fork server", f"{profile}: it answers and looks after {count}")


def _asked(path: Path) -> Listing:
    """What it tells. Raises OSError where none listens, `TimeoutError`, `ValidationError`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, short_name(path) as name:
        connection.settimeout(ANSWER_SECONDS)
        connection.connect(name)
        connection.sendall(ListInstances(id=1).model_dump_json().encode() + b"\n")
        with connection.makefile("rb") as answers:
            return Listing.model_validate_json(answers.readline())
