"""The Python that runs this, and the packages that it should have."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, version

from manager.diagnosis.finding import Finding, error, warning, well
from manager.diagnosis.surroundings import Surroundings

OLDEST = (3, 11)
_DISTRIBUTION = "agent-manager"
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def check_python(_: Surroundings) -> Iterator[Finding]:
    """Version and platform."""
    found = f"Python {platform.python_version()} at {sys.executable}"
    if sys.version_info < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        yield error("python", f"{found} is too old", f"run it with Python {oldest} or newer")
    elif sys.platform != "linux":
        why = f"{found} on {platform.system()}: agents are started one by one, which takes longer and more memory"
        yield warning("python", why, "use Linux where many agents run")
    else:
        yield well("python", found)


def check_packages(_: Surroundings) -> Iterator[Finding]:
    """Whether all that this project requires is installed."""
    missing = list(missing_packages())
    if missing:
        message = f"Not installed: {', '.join(missing)}"
        yield error("packages", message, f"pip install {' '.join(missing)}, or install agent-manager anew")
    else:
        yield well("packages", "All required packages are installed")


def missing_packages() -> Iterator[str]:
    """The names of required packages that are not installed; none where this runs from a plain checkout."""
    try:
        requirements = distribution(_DISTRIBUTION).requires or []
    except PackageNotFoundError:
        return
    for requirement in requirements:
        found = _NAME.match(requirement)
        # What has a marker is for extras, or for another platform.
        if found and ";" not in requirement and not _is_installed(found[0]):
            yield found[0]


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
