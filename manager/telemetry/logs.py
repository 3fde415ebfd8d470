"""The agents' log files, one per agent: their newest lines, and what a process said before it died."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from agent_service.contract import LogLines
from agent_service.log_tail import tail

LAST_WORDS_BYTES = 64 * 1024
LAST_WORDS_CHARACTERS = 500

_TRACEBACK = "Traceback (most recent call last):"
_ENTRY_START = '{"timestamp":'
"""How the adapter's log lines begin; one that a full disk has cut short parses no more."""
_GROUP_MARGIN = re.compile(r"^ +[|+] ?")
"""What Python writes before each line of an exception group's traceback."""


class AgentLog(LogLines):
    """Newest lines of an agent's log; `note` is a sentence on why they are not all that it has written."""

    note: str | None = None


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

    async def read(self, agent_id: str, lines: int, pids: Collection[int]) -> AgentLog:
        """As `tail`, with a note where the agent's processes `pids` write to a file that is gone. Raises OSError."""
        lost = await asyncio.to_thread(self._lost_writers, agent_id, pids)
        return AgentLog(lines=await self.tail(agent_id, lines), note=_lost_note(agent_id, lost) if lost else None)

    def _lost_writers(self, agent_id: str, pids: Collection[int]) -> list[int]:
        """Which of `pids` write to a log that was deleted; without /proc this shows only until a new one is there."""
        path = self.path(agent_id)
        if not path.exists():
            return list(pids)
        deleted = f"{path.resolve()} (deleted)"
        return [pid for pid in pids if deleted in _outputs(pid)]

    def last_words(self, agent_id: str, offset: int) -> str | None:
        """One sentence on why a process died, out of what its log holds since the byte `offset`.

        The newer of: the last JSON line of level error or critical that is about no task (a task's failure ends
        the task), and the last line of the last Python traceback. Else the last line, unless it is an ordinary
        JSON log line or the beginning of one. At most `LAST_WORDS_CHARACTERS` long; None when the log has nothing
        to say or cannot be read.
        """
        try:
            # A log that is shorter than it was has been truncated since: then all of it is new.
            start = offset if offset <= self.size(agent_id) else 0
            lines = tail(self.path(agent_id), sys.maxsize, max_bytes=LAST_WORDS_BYTES, start=start)
        except OSError:
            return None
        words = _last_error(lines) or _last_outcry(lines)
        return _shortened(words) if words else None


def _outputs(pid: int) -> list[str]:
    """Where the process's stdout and stderr lead, as Linux tells it; nothing elsewhere, or when it has ended."""
    try:
        return [os.readlink(f"/proc/{pid}/fd/{descriptor}") for descriptor in (1, 2)]
    except OSError:
        return []


def _lost_note(agent_id: str, pids: Collection[int]) -> str:
    return (
        f"The log file that {agent_id} (pid {', '.join(map(str, pids))}) writes to was deleted or moved away, so its "
        f"newest lines are not here; `agent-manager restart {agent_id}` begins a new file."
    )


def _last_error(lines: Sequence[str]) -> str | None:
    for index in range(len(lines) - 1, -1, -1):
        if lines[index].endswith(_TRACEBACK):
            outcome = _traceback_outcome(lines[index + 1 :])
            if outcome:
                return outcome
        entry = _log_entry(lines[index])
        if entry is not None and _is_fatal(entry):
            return _error_sentence(entry)
    return None


def _is_fatal(entry: dict[str, Any]) -> bool:
    return str(entry.get("level")).lower() in {"error", "critical"} and "task_id" not in entry


def _traceback_outcome(lines: Sequence[str]) -> str | None:
    """The `ModuleNotFoundError: …` after the indented frames that follow the traceback's first line."""
    for line in lines:
        text = _GROUP_MARGIN.sub("", line)
        if text.strip() and not text.startswith(" "):
            return text
    return None


def _last_outcry(lines: Sequence[str]) -> str | None:
    newest = next((line for line in reversed(lines) if line.strip()), None)
    if newest is None or newest.startswith(_ENTRY_START) or _log_entry(newest) is not None:
        return None
    return newest


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
    # Most events quote the error already.
    if len(ends) == 2 and ends[1] in ends[0]:
        ends.pop()
    return ": ".join(ends) or None


def _shortened(words: str) -> str:
    line = " ".join(words.split())
    return line if len(line) <= LAST_WORDS_CHARACTERS else f"{line[: LAST_WORDS_CHARACTERS - 1]}…"
