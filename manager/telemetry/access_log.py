"""`access.log`: one JSON object per HTTP request, written behind the requests' backs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import structlog
from pydantic_core import to_json

from agent_service.log_redaction import Redaction

FILE_NAME = "access.log"
# Six files of 16 MiB at most, about half a million requests.
MAX_BYTES = 16 * 1024 * 1024
BACKUPS = 5
# Seconds that lines are gathered for, so that a thousand requests cost a write and not a thousand.
GATHERING_SECONDS = 0.25
# Lines that wait while the disk does not take them; more are lost, and counted.
MAX_WAITING = 100_000

log = structlog.get_logger(__name__)


class _File(RotatingFileHandler):
    """The standard library's rotation, for whole batches of lines. What goes wrong is raised to who writes."""

    terminator = ""

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8", delay=True)

    def write(self, text: str) -> None:
        """Append, after a rotation where the file would grow over its limit. Raises OSError."""
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        self.emit(logging.LogRecord("access", logging.INFO, "", 0, text, None, None))

    def handleError(self, record: logging.LogRecord) -> None:
        raise


class AccessLog:
    """Takes entries at once and writes them soon. Values in `redact` appear in no line."""

    def __init__(self, directory: Path, *, redact: Collection[str] = ()) -> None:
        self._file = _File(directory / FILE_NAME)
        # As they stand in JSON.
        self._redaction = Redaction(to_json(secret)[1:-1].decode() for secret in redact)
        self._lines: list[bytes] = []
        self._lost = 0
        self._has_lines = asyncio.Event()

    def record(self, entry: dict[str, Any]) -> None:
        """One request; `entry` holds JSON values."""
        if len(self._lines) >= MAX_WAITING:
            self._lost += 1
            return
        self._lines.append(to_json(entry))
        self._has_lines.set()

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        while True:
            await self._has_lines.wait()
            await asyncio.sleep(GATHERING_SECONDS)
            lines = self._take()
            try:
                await asyncio.to_thread(self._write, lines)
            except OSError as error:
                log.warning("The access log cannot be written, lines are lost", reason=str(error))

    def close(self) -> None:
        """Write what is left, as far as the disk takes it."""
        try:
            if self._lines:
                self._write(self._take())
        except OSError as error:
            log.warning("The end of the access log could not be written", reason=str(error))
        finally:
            self._file.close()

    def _take(self) -> list[bytes]:
        lines, self._lines = self._lines, []
        self._has_lines.clear()
        if self._lost:
            lines.append(b'{"lost_lines":%d}' % self._lost)
            self._lost = 0
        return lines

    def _write(self, lines: list[bytes]) -> None:
        batch = b"\n".join([*lines, b""])
        if self._redaction.concerns(batch):
            # Each by itself: half a key in one must not take the others along.
            batch = b"\n".join([*map(self._redaction.raw, lines), b""])
        self._file.write(batch.decode())
