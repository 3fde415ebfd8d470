"""The agents' log files, one per agent: their newest lines, and what a process said before it died."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent_service.log_tail import tail

LAST_WORDS_BYTES = 64 * 1024
LAST_WORDS_CHARACTERS = 500

_TRACEBACK = "Traceback (most recent call last):"
_GROUP_MARGIN = re.compile(r"^ +[|+] ?")
"""What Python writes before each line of an exception group's traceback."""


class AgentLogs:
    """The files `<directory>/<agent id>.log`; ids have been validated before they come here."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, agent_id: str) -> Path:
        """Where the agent's log is, or will be."""
        return self._directory / f"{agent_id}.log"

    def size(self, agent_id: str) -> int:
        """Bytes in the agent's log now; 0 while there is none."""
        try:
            return self.path(agent_id).stat().st_size
        except OSError:
            return 0

    async def tail(self, agent_id: str, lines: int) -> list[str]:
        """The newest `lines` lines, oldest first; none while there is no log. Raises OSError."""
        return await asyncio.to_thread(tail, self.path(agent_id), lines)

    def last_words(self, agent_id: str, offset: int) -> str | None:
        """One sentence on why a process died, out of what its log holds since the byte `offset`.

        The newer of: the last JSON line of level error or critical, and the last line of the last Python
        traceback. Else the last line, unless it is an ordinary JSON log line. At most `LAST_WORDS_CHARACTERS`
        long; None when the log has nothing to say or cannot be read.
        """
        try:
            # A log that is shorter than it was has been truncated since: then all of it is new.
            start = offset if offset <= self.size(agent_id) else 0
            lines = tail(self.path(agent_id), sys.maxsize, max_bytes=LAST_WORDS_BYTES, start=start)
        except OSError:
            return None
        words = _last_error(lines) or _last_outcry(lines)
        return _shortened(words) if words else None


def _last_error(lines: Sequence[str]) -> str | None:
    for index in range(len(lines) - 1, -1, -1):
        if lines[index].endswith(_TRACEBACK):
            outcome = _traceback_outcome(lines[index + 1 :])
            if outcome:
                return outcome
        entry = _log_entry(lines[index])
        if entry is not None and str(entry.get("level")).lower() in {"error", "critical"}:
            return _error_sentence(entry)
    return None


def _traceback_outcome(lines: Sequence[str]) -> str | None:
    """The `ModuleNotFoundError: …` after the indented frames that follow the traceback's first line."""
    for line in lines:
        text = _GROUP_MARGIN.sub("", line)
        if text.strip() and not text.startswith(" "):
            return text
    return None


def _last_outcry(lines: Sequence[str]) -> str | None:
    newest = next((line for line in reversed(lines) if line.strip()), None)
    return newest if newest is not None and _log_entry(newest) is None else None


def _log_entry(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def _error_sentence(entry: dict[str, Any]) -> str | None:
    """The event and, where the line tells, the error: of a whole traceback its last line."""
    parts = [entry.get("event"), entry.get("error") or entry.get("exception")]
    ends = [part.strip().splitlines()[-1] for part in parts if isinstance(part, str) and part.strip()]
    return ": ".join(dict.fromkeys(ends)) or None


def _shortened(words: str) -> str:
    line = " ".join(words.split())
    return line if len(line) <= LAST_WORDS_CHARACTERS else f"{line[: LAST_WORDS_CHARACTERS - 1]}…"
