"""What a check has to say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """`warning`: it works, and will not for long or not for everything. `error`: it does not work."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """One sentence on one thing, and where something is wrong another one on what to do."""

    check: str
    level: Level
    message: str
    remedy: str | None = None


def well(check: str, message: str) -> Finding:
    """All is as it should be."""
    return Finding(check, Level.OK, message)


def warning(check: str, message: str, remedy: str) -> Finding:
    """Something may go wrong."""
    return Finding(check, Level.WARNING, message, remedy)


def error(check: str, message: str, remedy: str) -> Finding:
    """Something is wrong."""
    return Finding(check, Level.ERROR, message, remedy)
