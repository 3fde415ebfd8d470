"""Spans on their way out: a bounded queue, and one thread that sends it on in batches.

In place of OpenTelemetry's own batch processor, whose flush knows no deadline, whose dropped spans nobody counts, and
whose thread wakes while there is nothing to do.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import structlog
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, Context, attach, set_value
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from agent_service.redaction import shown
from agent_service.tracing.counts import SpanCounts
from agent_service.tracing.settings import TracingSettings

log = structlog.stdlib.get_logger(__name__)

# The exporter says only there why it failed, and says it at every batch.
_EXPORTERS_LOGGERS = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.common.http",
)


class Outbox(SpanProcessor):
    """`on_end` never waits. Failures are logged once for each streak of them."""

    def __init__(self, exporter: SpanExporter, settings: TracingSettings, counts: SpanCounts) -> None:
        self._exporter = exporter
        self._settings = settings
        self._counts = counts
        self._queue: deque[ReadableSpan] = deque()
        self._is_needed = threading.Event()
        self._is_urgent = threading.Event()
        self._is_closing = False
        self._is_failing = False
        self._url = shown("url", settings.url)
        self._reason = ""
        self._thread = threading.Thread(target=self._run, name="trace exporter", daemon=True)
        self._thread.start()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing is done at a start."""

    def on_end(self, span: ReadableSpan) -> None:
        """Take one span, of a trace that is recorded, where there is room for it."""
        if not span.context.trace_flags.sampled:
            return
        if self._is_closing or len(self._queue) >= self._settings.queue_size:
            self._counts.dropped += 1
            return
        self._queue.append(span)
        if not self._is_needed.is_set():
            self._is_needed.set()
        if len(self._queue) >= self._settings.batch_size:
            self._is_urgent.set()

    def close(self, seconds: float) -> None:
        """Send what is there, for at most `seconds`; what is left then is dropped. Waits, so not for an event loop."""
        self._is_closing = True
        self._is_urgent.set()
        self._is_needed.set()
        self._thread.join(seconds)
        left = len(self._queue)
        self._queue.clear()
        # Interrupts its waits between tries.
        self._exporter.shutdown()
        if left:
            self._counts.dropped += left
            log.warning("Traces were not all sent before the end", left=left)

    def shutdown(self) -> None:
        """Its owner calls `close`, with a deadline."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Whether the queue was empty within that time."""
        deadline = time.monotonic() + timeout_millis / 1000
        self._is_urgent.set()
        self._is_needed.set()
        while self._queue and time.monotonic() < deadline:
            time.sleep(0.005)
        return not self._queue

    def _run(self) -> None:
        # Where the agent's own code has HTTP clients traced, ours must not add to what it sends.
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        while not self._is_closing:
            self._is_needed.wait()
            self._is_urgent.wait(self._settings.delay_seconds)
            # Cleared before the queue is looked at: what comes later sets them again.
            self._is_needed.clear()
            self._is_urgent.clear()
            self._send_all()
        # What came between that and the word to close.
        self._send_all()

    def _send_all(self) -> None:
        while batch := self._next():
            self._send(batch)

    def _next(self) -> list[ReadableSpan]:
        batch: list[ReadableSpan] = []
        # Emptied by `close`, it may be shorter than it was a moment ago.
        with suppress(IndexError):
            while len(batch) < self._settings.batch_size:
                batch.append(self._queue.popleft())
        return batch

    def _send(self, batch: Sequence[ReadableSpan]) -> None:
        try:
            with _reasons() as reasons:
                is_taken = self._exporter.export(batch) is SpanExportResult.SUCCESS
            self._reason = reasons.newest
        except Exception as error:  # noqa: BLE001 - outermost loop of this thread: an exporter that fails must not end it
            self._reason = f"{type(error).__name__}: {error}"
            is_taken = False
        if is_taken:
            self._counts.exported += len(batch)
        else:
            self._counts.failed += len(batch)
        self._note(is_taken)

    def _note(self, is_taken: bool) -> None:
        if is_taken and self._is_failing:
            log.info("Traces are sent again", url=self._url)
        elif not is_taken and not self._is_failing:
            log.warning("Traces cannot be sent; requests go on", url=self._url, reason=self._reason)
        self._is_failing = not is_taken


@contextmanager
def _reasons() -> Iterator[_Reasons]:
    """What the exporter says while inside goes here alone."""
    reasons = _Reasons()
    for name in _EXPORTERS_LOGGERS:
        logging.getLogger(name).addFilter(reasons)
    try:
        yield reasons
    finally:
        for name in _EXPORTERS_LOGGERS:
            logging.getLogger(name).removeFilter(reasons)


class _Reasons(logging.Filter):
    """Keeps the newest line of a logger, and lets none through."""

    def __init__(self) -> None:
        super().__init__()
        self.newest = ""

    def filter(self, record: logging.LogRecord) -> bool:
        self.newest = record.getMessage()
        return False
