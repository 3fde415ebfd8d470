from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind
from structlog.testing import capture_logs

from agent_service.tracing.counts import SpanCounts
from agent_service.tracing.parents import Parent
from agent_service.tracing.settings import TracingSettings
from agent_service.tracing.tracer import Tracer

LIBRARY = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
OK, FAILED = SpanExportResult.SUCCESS, SpanExportResult.FAILURE
# A delay that no test waits for.
LONG = 3600.0


class Endpoint(SpanExporter):
    """Answers as told, the last answer again and again; while it is `blocked` it does not answer."""

    def __init__(self, *answers: SpanExportResult | Exception) -> None:
        self._answers = list(answers or (OK,))
        self.batches: list[list[str]] = []
        self.blocked = threading.Event()
        self.blocked.set()
        self.asked = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.batches.append([span.name for span in spans])
        self.asked.set()
        self.blocked.wait(30)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        if answer is FAILED:
            logging.getLogger(LIBRARY).error("Failed to export: %s", "refused")
        return answer

    def shutdown(self) -> None:
        self.blocked.set()


class Sender:
    def __init__(self, endpoint: Endpoint, **settings: int) -> None:
        self.counts = SpanCounts("agent")
        made = TracingSettings(url="http://me:hush@collector/v1/traces", delay_seconds=LONG, **settings)
        self.tracer = Tracer(made, {}, self.counts, endpoint)

    def send(self, *names: str, sampled: bool = True) -> None:
        for number, name in enumerate(names, 1):
            self.tracer.begin(name, SpanKind.INTERNAL, Parent(number, None, sampled), {}).end()

    def close(self, seconds: float = 30) -> tuple[int, int, int]:
        self.tracer.outbox.close(seconds)
        return self.counts.exported, self.counts.failed, self.counts.dropped


@pytest.fixture(autouse=True)
def nothing_is_left_of_the_library() -> Iterator[None]:
    yield
    assert not logging.getLogger(LIBRARY).filters


def test_what_has_ended_is_sent_at_the_end_in_order() -> None:
    endpoint = Endpoint()
    sender = Sender(endpoint)
    sender.send("a", "b", "c")
    assert sender.close() == (3, 0, 0)
    assert [name for batch in endpoint.batches for name in batch] == ["a", "b", "c"]


def test_a_full_batch_does_not_wait() -> None:
    endpoint = Endpoint()
    sender = Sender(endpoint, batch_size=2)
    sender.send("a", "b")
    assert endpoint.asked.wait(30)
    assert sender.close() == (2, 0, 0)
    assert endpoint.batches == [["a", "b"]]


def test_what_is_over_the_queue_is_dropped_and_counted_and_nobody_waits() -> None:
    endpoint = Endpoint()
    endpoint.blocked.clear()
    sender = Sender(endpoint, queue_size=3, batch_size=1)
    sender.send("first")
    assert endpoint.asked.wait(30)
    sender.send("a", "b", "c", "over", "over")
    endpoint.blocked.set()
    assert sender.close() == (4, 0, 2)
    assert endpoint.batches == [["first"], ["a"], ["b"], ["c"]]


def test_an_endpoint_that_does_not_answer_costs_no_more_than_the_deadline() -> None:
    endpoint = Endpoint()
    endpoint.blocked.clear()
    sender = Sender(endpoint, batch_size=1)
    sender.send("first")
    assert endpoint.asked.wait(30)
    sender.send("second")
    with capture_logs() as logs:
        assert sender.close(0.01)[2] == 1
    assert [line["event"] for line in logs] == ["Traces were not all sent before the end"]
    # Let its thread end.
    assert sender.close() == (1, 0, 1)


def test_spans_that_end_after_the_end_are_dropped() -> None:
    sender = Sender(Endpoint())
    sender.close()
    sender.send("late")
    assert sender.counts.dropped == 1


def test_a_streak_of_failures_is_logged_once_with_its_reason_and_so_is_its_end() -> None:
    sender = Sender(Endpoint(FAILED, ValueError("odd"), FAILED, OK, FAILED), batch_size=1)
    with capture_logs() as logs:
        sender.send("a", "b", "c", "d", "e")
        assert sender.close() == (1, 4, 0)
    assert [(line["event"], line.get("reason")) for line in logs] == [
        ("Traces cannot be sent; requests go on", "Failed to export: refused"),
        ("Traces are sent again", None),
        ("Traces cannot be sent; requests go on", "Failed to export: refused"),
    ]
    assert "hush" not in str(logs)
