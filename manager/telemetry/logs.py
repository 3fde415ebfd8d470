"""The agents' logs, one per agent: where each begins anew, its newest lines, and what a process said before it died."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import structlog

from agent_service.contract import rfc3339
from agent_service.log_files import LogLimits, base_of, keep_within, rotate, rotated_files
from agent_service.log_tail import tail, tail_log

LAST_WORDS_BYTES = 64 * 1024
LAST_WORDS_CHARACTERS = 500

INSTANCE_STARTS = "Instance starts"
STACKS_FOLLOW = "Stacks of the unresponsive process"
_AGENT_LOG = re.compile(r"(?!(?:manager|access)\.log)[a-z0-9_-]{1,63}\.log")
_TRACEBACK = "Traceback (most recent call last):"
_ENTRY_START = '{"timestamp":'
"""How the adapter's log lines begin; one that a full disk has cut short parses no more."""
_GROUP_MARGIN = re.compile(r"^ +[|+] ?")
"""What Python writes before each line of an exception group's traceback."""


log = structlog.get_logger(__name__)


class AgentLogs:
    """The files `<directory>/<agent id>.log` and what they were rotated into; ids have been validated before.

    `limits`: when a log is rotated at the start of an instance; None: never.
    """

    def __init__(self, directory: Path, limits: LogLimits | None = None) -> None:
        self._directory = directory
        self._limits = limits

    def path(self, agent_id: str) -> Path:
        """Where the agent's log is, or will be."""
        return self._directory / f"{agent_id}.log"

    def ids(self) -> list[str]:
        """The agents that have a log, be they in the config or not."""
        try:
            names = {base_of(name)[0] for name in os.listdir(self._directory)}
        except OSError:
            return []
        return sorted(name.removesuffix(".log") for name in names if _AGENT_LOG.fullmatch(name))

    def begin(self, agent_id: str, instance_id: str) -> None:
        """Before an instance starts: end a line that a death has cut, and say whose lines and of when come next.

        What goes wrong is left to whoever opens the log in earnest.
        """
        path = self.path(agent_id)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._rotate_full(path)
            _append(path, _line(INSTANCE_STARTS, "info", agent_id, instance_id))
        except OSError as error:
            log.warning("The log could not be prepared for a start", agent_id=agent_id, error=str(error))

    def announce_stacks(self, agent_id: str, instance_id: str) -> None:
        """Before a process is asked for its stacks: say whose raw lines come next, and of when they are."""
        path = self.path(agent_id)
        line = _line(STACKS_FOLLOW, "warning", agent_id, instance_id)
        try:
            if not _append(path, line):
                # The process, or one beside it, has rotated the log in that moment, and goes on in the new file.
                _append(path, line)
        except OSError as error:
            log.warning("The log could not be prepared for stacks", agent_id=agent_id, error=str(error))

    def _rotate_full(self, path: Path) -> None:
        """Programs that cannot go on in a new file begin one at least."""
        if self._limits is not None and path.exists() and path.stat().st_size >= self._limits.max_bytes:
            rotate(path)
            keep_within(path, self._limits)

    def size(self, agent_id: str) -> int:
        """Bytes in the agent's log now; 0 while there is none."""
        try:
            return self.path(agent_id).stat().st_size
        except OSError:
            return 0

    async def tail(self, agent_id: str, lines: int) -> list[str]:
        """The newest `lines` lines, oldest first; none while there is no log. Raises OSError."""
        return await asyncio.to_thread(tail_log, self.path(agent_id), lines)

    async def lost_note(self, agent_id: str, pids: Collection[int]) -> str | None:
        """A sentence where the agent's processes `pids` write to a file that is gone, and go on doing so.

        Our adapters make a new one by themselves, within moments.
        """
        lost = await asyncio.to_thread(self._lost_writers, agent_id, pids)
        return _lost_note(agent_id, lost) if lost else None

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
            lines = self._said_since(agent_id, offset)
        except OSError:
            return None
        words = _last_error(lines) or _last_outcry(lines)
        return _shortened(words) if words else None

    def _said_since(self, agent_id: str, offset: int) -> list[str]:
        path = self.path(agent_id)
        if offset <= self.size(agent_id):
            return tail(path, sys.maxsize, max_bytes=LAST_WORDS_BYTES, start=offset)
        # Shorter than it was: rotated since, or truncated, and then all of it is new.
        older = [tail(each.path, sys.maxsize, max_bytes=LAST_WORDS_BYTES) for each in rotated_files(path)[-1:]]
        return [*(line for lines in older for line in lines), *tail(path, sys.maxsize, max_bytes=LAST_WORDS_BYTES)]


def _line(event: str, level: str, agent_id: str, instance_id: str) -> bytes:
    line = {
        "timestamp": rfc3339(datetime.now(UTC)),
        "level": level,
        "event": event,
        "agent_id": agent_id,
        "instance_id": instance_id,
    }
    return json.dumps(line).encode() + b"\n"


def _append(path: Path, line: bytes) -> bool:
    """End a line that was cut, and write the whole of this one at once; whether the file is still the written one."""
    with path.open("a+b", buffering=0) as file:
        file.write((b"\n" if _is_cut(file) else b"") + line)
        try:
            return os.path.samestat(os.fstat(file.fileno()), path.stat())
        except FileNotFoundError:
            return False


def _is_cut(file: BinaryIO) -> bool:
    """The newest line has no end."""
    if file.seek(0, os.SEEK_END) == 0:
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"


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
