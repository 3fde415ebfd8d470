"""The log: structlog JSON lines on stdout, whoever writes them, and how /logs reads them back.

Started by the manager, stdout and stderr are the agent's log file already. Alone with a log file, both are copied into
it, so that prints and tracebacks land there as well. Alone without one, the newest lines are kept in memory. Secrets
are taken out of whatever Python code prints, too.
"""

from __future__ import annotations

import asyncio
import io
import logging
import sys
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from agent_service.contract import rfc3339
from agent_service.lifecycle import utc_now
from agent_service.log_files import LogLimits
from agent_service.log_output import RedactedOutput
from agent_service.log_redaction import Redaction
from agent_service.log_rotation import Rotation, RotationThread, descriptors_of
from agent_service.log_tail import tail_log

REMEMBERED_LINES = 1000

LogReader = Callable[[int], Awaitable[list[str]]]
"""Gives the newest N lines, oldest first. Raises OSError."""

# Libraries whose INFO lines say once per request what our own lines say.
QUIET = ("httpcore", "httpx", "httpx2", "mcp", "uvicorn", "uvicorn.error")


def configure_logging(
    *,
    agent_id: str,
    instance_id: str,
    secrets: Collection[str] = (),
    log_file: Path | None = None,
    copy: bool = False,
    limits: LogLimits | None = None,
) -> LogReader:
    """Send structlog, stdlib logging and uncaught exceptions to stdout as JSON lines.

    Called once, by a process's entry. The answer reads the newest lines: from `log_file`, or from memory where there is
    none. `copy`: stdout is not that file, so it gets a copy. `limits`: when the file is rotated. Raises OSError when it
    cannot be opened.
    """
    read_log: LogReader
    handlers: list[logging.Handler]
    descriptors: list[int] = []
    copies: list[BinaryIO] = []
    if log_file is None:
        memory = MemoryLog(REMEMBERED_LINES)
        handlers, read_log = [memory], memory.read
    else:
        handlers, read_log = [], file_reader(log_file)
        if copy:
            copies.append(log_file.open("ab"))
        descriptors = [copies[0].fileno()] if copy else descriptors_of(log_file, (1, 2))
    _redact_output(Redaction(secrets), copies)
    _install([logging.StreamHandler(sys.stdout), *handlers], processors(agent_id, instance_id, secrets))
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    if log_file is not None and limits is not None and descriptors:
        RotationThread(Rotation(log_file, descriptors, limits)).start()
    return read_log


def file_reader(path: Path) -> LogReader:
    """Reads the newest lines of a log."""

    async def read(lines: int) -> list[str]:
        return await asyncio.to_thread(tail_log, path, lines)

    return read


def processors(agent_id: str, instance_id: str, secrets: Collection[str]) -> list[Processor]:
    """What every line goes through before it is rendered."""

    def identify(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        first = {"timestamp": rfc3339(utc_now()), "level": event.get("level"), "event": event.get("event")}
        return {**first, "agent_id": agent_id, "instance_id": instance_id, **event}

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        identify,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        Redactor(secrets),
    ]


class Redactor:
    """Takes known secrets, and what has the shape of one, out of every value of a log line."""

    def __init__(self, secrets: Collection[str]) -> None:
        self._redaction = Redaction(secrets)

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        own = {key: value for key, value in event.items() if key.startswith("_")}
        rest = {key: value for key, value in event.items() if key not in own}
        return {**self._redaction.value(rest), **own}


class MemoryLog(logging.Handler):
    """The newest rendered lines, in memory."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=size)

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))

    async def read(self, lines: int) -> list[str]:
        """The newest `lines`, oldest first."""
        return list(self._lines)[-lines:]


def _redact_output(redaction: Redaction, copies: Sequence[BinaryIO]) -> None:
    # What they were before may be redacted already: by the fork server that this process comes from.
    if sys.__stdout__ is not None:
        sys.stdout = _redacted(sys.__stdout__, redaction, copies)
    if sys.__stderr__ is not None:
        sys.stderr = _redacted(sys.__stderr__, redaction, copies)


def _redacted(stream: TextIO, redaction: Redaction, copies: Sequence[BinaryIO]) -> TextIO:
    """Whole lines at once, never an encoding error: an agent's print shows while the agent still runs."""
    stream.flush()
    output = RedactedOutput(redaction, (stream.buffer, *copies))
    return io.TextIOWrapper(output, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def _install(handlers: Sequence[logging.Handler], chain: list[Processor]) -> None:
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=chain,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    )
    for handler in handlers:
        handler.setFormatter(formatter)
    logging.basicConfig(handlers=handlers, force=True)
    _set_level(logging.getLogger(), logging.INFO)
    for name in QUIET:
        _set_level(logging.getLogger(name), logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *chain,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _set_level(logger: logging.Logger, level: int) -> None:
    # Setting it writes to every logger that there is: in a forked process, to a megabyte that was shared.
    if logger.level != level:
        logger.setLevel(level)


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    structlog.stdlib.get_logger(__name__).critical("Uncaught exception", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and args.exc_type is not SystemExit:
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
