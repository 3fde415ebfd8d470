"""The clock: whether it was set back, and whether the manager's is the same."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from manager.diagnosis.finding import Finding, warning, well
from manager.diagnosis.surroundings import Surroundings

_TOLERANCE_SECONDS = 5.0


def check_clock(around: Surroundings) -> Iterator[Finding]:
    """Against the newest of the manager's files, and against a running manager."""
    ahead = _files_ahead(around)
    skew = around.answers.ahead_seconds if around.answers else 0.0
    if ahead > _TOLERANCE_SECONDS:
        message = f"The clock was set back: files were written {ahead:,.0f} s from now"
        yield warning("clock", message, "set the clock right; until then history and logs are out of order")
    elif abs(skew) > _TOLERANCE_SECONDS:
        message = f"The clock differs from the manager's by {abs(skew):,.0f} s"
        yield warning("clock", message, "have both machines keep time by NTP")
    else:
        yield well("clock", f"It is {around.clock.now().astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC")


def _files_ahead(around: Surroundings) -> float:
    """How many seconds from now the newest file was written; 0 where none was."""
    if around.config is None:
        return 0.0
    directories = (around.config.state_directory, around.config.log_directory)
    written = [path.stat().st_mtime for directory in directories for path in _files(directory)]
    # Now, and not before: a manager goes on writing meanwhile.
    now = around.clock.now()
    return max(0.0, *((datetime.fromtimestamp(at, UTC) - now).total_seconds() for at in written), 0.0)


def _files(directory: Path) -> list[Path]:
    try:
        return [path for path in directory.iterdir() if path.is_file()]
    except OSError:
        return []
