"""Keeps the disk bounded where no writer does: of programs that hold a log open and know nothing of rotation."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

import structlog

from agent_service.log_files import LogLimits, base_of, keep_within, occupied, rotate
from manager.telemetry.access_log import FILE_NAME as ACCESS_LOG
from manager.telemetry.manager_log import FILE_NAME as MANAGER_LOG

LOOK_SECONDS = 2.0

log = structlog.get_logger(__name__)


class LogKeeper:
    """Looks at the sizes of all logs in `directory`.

    Our adapters rotate their own logs; what is over its limits all the same loses its oldest files, and, where somebody
    still writes to them, their beginnings. The manager's own log is rotated here.
    """

    def __init__(self, directory: Path, limits: LogLimits) -> None:
        self._directory = directory
        self._limits = limits
        self._failing: set[str] = set()

    async def run(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Once through the directory."""
        for name, total in self._totals().items():
            if total > self._limits.all_bytes or name == MANAGER_LOG:
                self._bound(self._directory / name)

    def _totals(self) -> Counter[str]:
        """Bytes on disk of each log, by the name of the file that is written."""
        totals: Counter[str] = Counter()
        with suppress(FileNotFoundError), os.scandir(self._directory) as entries:
            for entry in entries:
                # That one rotates itself, with other names.
                if entry.name.endswith(".log") and entry.name != ACCESS_LOG:
                    with suppress(FileNotFoundError):  # deleted while we look
                        totals[base_of(entry.name)[0]] += occupied(entry.stat())
        return totals

    def _bound(self, path: Path) -> None:
        try:
            # Its handler sees that the name leads elsewhere, and opens it anew.
            if path.name == MANAGER_LOG and path.stat().st_size >= self._limits.max_bytes:
                rotate(path)
            keep_within(path, self._limits)
            self._failing.discard(path.name)
        except FileNotFoundError:
            pass  # removed by somebody else, with all its bytes
        except OSError as error:
            if path.name not in self._failing:
                self._failing.add(path.name)
                log.warning("A log cannot be kept within its limits", log=path.name, error=str(error))
