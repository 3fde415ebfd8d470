"""The manager's own log: JSON lines in `<log directory>/manager.log`, from structlog and from libraries alike."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from agent_service.contract import rfc3339
from agent_service.log_redaction import Redaction

FILE_NAME = "manager.log"

_QUIET_LIBRARIES = ("uvicorn", "sqlalchemy", "alembic", "asyncio", "httpx", "httpcore", "watchfiles")


class ManagerLog(WatchedFileHandler):
    """Survives its file: removed or rotated, it is opened anew; while it cannot be written, lines are lost.

    Logging must neither raise into the code that logs nor write to the console, which is the command line's.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace", delay=True)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)

    def close(self) -> None:
        """Ends the manager's logging."""
        logging.getLogger().removeHandler(self)
        try:
            super().close()
        except OSError:
            self.stream = None

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()


def configure_logging(directory: Path, *, level: str, redact: tuple[str, ...]) -> ManagerLog:
    """Send all logging of this process to the log file, from `level` (`debug` … `critical`) on.

    Values in `redact` appear in no line. Closing the returned handler ends it. Nothing is raised when the file
    cannot be written.
    """
    handler = ManagerLog(directory / FILE_NAME)
    handler.setFormatter(_formatter(Redaction(redact)))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            *_shared_processors(),
            ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return handler


def _shared_processors() -> list[Processor]:
    return [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.format_exc_info,
    ]


def _formatter(redaction: Redaction) -> ProcessorFormatter:
    def arranged(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
        """When, how grave, what; then the rest, as it was given."""
        stamp = rfc3339(datetime.fromtimestamp(line.pop("_record").created, UTC))
        del line["_from_structlog"]
        first = {"timestamp": stamp, "level": line.pop("level"), "event": line.pop("event")}
        redacted: EventDict = redaction.value({**first, **line})
        return redacted

    return ProcessorFormatter(
        foreign_pre_chain=[structlog.contextvars.merge_contextvars, *_shared_processors()],
        processors=[arranged, structlog.processors.JSONRenderer(ensure_ascii=False)],
    )
