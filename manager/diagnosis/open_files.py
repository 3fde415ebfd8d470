"""How many files and connections the manager may have open at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from manager.diagnosis.finding import Finding, warning, well
from manager.diagnosis.surroundings import Surroundings

# Its own, and for each agent a log, a kept connection and its listener.
_OWN_FILES = 100
_FILES_PER_INSTANCE = 4
_FEW_FILES = 1024


def check_open_files(around: Surroundings) -> Iterator[Finding]:
    """The limit of this user's processes, against what the fleet needs and what it allows itself."""
    if sys.platform == "win32" or around.config is None:
        return
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    instances = sum(agent.instances for agent in around.config.agents)
    needed = _OWN_FILES + _FILES_PER_INSTANCE * instances
    if limit < max(needed, _FEW_FILES):
        message = f"A process may open {limit} files, and the manager of this fleet needs {max(needed, _FEW_FILES)}"
        yield warning("open files", message, "raise it with `ulimit -n`, or LimitNOFILE= of the service")
    else:
        yield well("open files", f"A process may open {limit} files")
