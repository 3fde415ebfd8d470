from __future__ import annotations

from collections.abc import Sequence

import pytest

from manager.telemetry.exposition import parse, render
from manager.telemetry.forward_metrics import ForwardMetrics
from manager.telemetry.traffic import Traffic

KNOWN = ("echo", "idle")


def observe(metrics: ForwardMetrics, outcome: str = "2xx", seconds: float = 0.1, *, agent_id: str = "echo") -> None:
    metrics.observe(agent_id, outcome, queued=None, connected=0.0001, agent=seconds, total=seconds)


def page(metrics: ForwardMetrics, agent_ids: Sequence[str] = KNOWN) -> set[str]:
    rendered = render(metrics.families(agent_ids)).decode()
    assert parse(rendered)
    return set(rendered.splitlines())


def test_each_histogram_counts_up_to_its_bounds() -> None:
    metrics = ForwardMetrics(Traffic())
    for seconds in (0.0005, 0.003, 1000):
        observe(metrics, seconds=seconds)
    name = "manager_forward_duration_seconds"
    assert {
        f'{name}_bucket{{agent_id="echo",le="0.0005"}} 1',
        f'{name}_bucket{{agent_id="echo",le="0.0025"}} 1',
        f'{name}_bucket{{agent_id="echo",le="0.005"}} 2',
        f'{name}_bucket{{agent_id="echo",le="300.0"}} 2',
        f'{name}_bucket{{agent_id="echo",le="+Inf"}} 3',
        f'{name}_count{{agent_id="echo"}} 3',
        f'{name}_sum{{agent_id="echo"}} 1000.0035',
    } <= page(metrics)


def test_what_has_not_happened_is_not_counted() -> None:
    metrics = ForwardMetrics(Traffic())
    observe(metrics)
    assert {
        'manager_forward_queue_seconds_count{agent_id="echo"} 0',
        'manager_forward_connect_seconds_count{agent_id="echo"} 1',
    } <= page(metrics)


def test_outcomes_are_counted_apart_and_from_zero_so_that_the_first_one_is_an_increase() -> None:
    metrics = ForwardMetrics(Traffic())
    for outcome in ("2xx", "2xx", "client_gone", "3xx"):
        observe(metrics, outcome)
    name = "manager_forward_requests_total"
    assert {
        f'{name}{{agent_id="echo",outcome="2xx"}} 2',
        f'{name}{{agent_id="echo",outcome="client_gone"}} 1',
        f'{name}{{agent_id="echo",outcome="3xx"}} 1',
        f'{name}{{agent_id="echo",outcome="5xx"}} 0',
        f'{name}{{agent_id="idle",outcome="2xx"}} 0',
    } <= page(metrics)


def test_an_agent_that_nobody_has_asked_has_no_histogram() -> None:
    assert not any("_bucket" in line for line in page(ForwardMetrics(Traffic())))


def test_an_agent_that_has_gone_is_forgotten_and_begins_anew() -> None:
    metrics = ForwardMetrics(Traffic())
    observe(metrics)
    observe(metrics, agent_id="gone")
    assert not any("gone" in line.replace("client_gone", "") for line in page(metrics))
    metrics.retain({"echo"})
    name = "manager_forward_requests_total"
    assert {
        f'{name}{{agent_id="echo",outcome="2xx"}} 1',
        f'{name}{{agent_id="gone",outcome="2xx"}} 0',
    } <= page(metrics, ("echo", "gone"))


@pytest.mark.parametrize(
    ("outcome", "connected", "errors", "is_timed"),
    [
        ("2xx", 0.1, 0, True),
        ("5xx", 0.1, 1, True),
        ("broken_off", 0.1, 1, True),
        ("5xx", None, 1, False),
        ("4xx", 0.1, 0, False),
        ("client_gone", 0.1, 0, False),
    ],
)
def test_failures_and_times_that_tell_of_the_agent_are_told_on(
    outcome: str, connected: float | None, errors: int, is_timed: bool
) -> None:
    traffic = Traffic()
    ForwardMetrics(traffic).observe("echo", outcome, queued=0.0, connected=connected, agent=None, total=0.1)
    recent = traffic.recent("echo", 10.0)
    assert (recent.requests, recent.errors, recent.p50_ms is not None) == (1, errors, is_timed)
