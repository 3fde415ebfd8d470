from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from manager.telemetry.forward_metrics import ForwardMetrics


def page_after(*seconds: float) -> str:
    registry = CollectorRegistry()
    metrics = ForwardMetrics(registry)
    for each in seconds:
        metrics.observe("echo", "2xx", queued=None, connected=0.0001, agent=each, total=each)
    return generate_latest(registry).decode()


def test_each_histogram_counts_up_to_its_bounds() -> None:
    page = page_after(0.0005, 0.003, 1000)
    name = "manager_forward_duration_seconds"
    assert f'{name}_bucket{{agent_id="echo",le="0.0005"}} 1.0' in page
    assert f'{name}_bucket{{agent_id="echo",le="0.0025"}} 1.0' in page
    assert f'{name}_bucket{{agent_id="echo",le="0.005"}} 2.0' in page
    assert f'{name}_bucket{{agent_id="echo",le="300.0"}} 2.0' in page
    assert f'{name}_bucket{{agent_id="echo",le="+Inf"}} 3.0' in page
    assert f'{name}_count{{agent_id="echo"}} 3.0' in page
    assert f'{name}_sum{{agent_id="echo"}} 1000.0035' in page


def test_what_has_not_happened_is_not_counted() -> None:
    page = page_after(0.1)
    assert 'manager_forward_queue_seconds_count{agent_id="echo"} 0.0' in page
    assert 'manager_forward_connect_seconds_count{agent_id="echo"} 1.0' in page


def test_outcomes_are_counted_apart() -> None:
    registry = CollectorRegistry()
    metrics = ForwardMetrics(registry)
    for outcome in ("2xx", "2xx", "client_gone"):
        metrics.observe("echo", outcome, queued=0, connected=0, agent=0, total=0)
    page = generate_latest(registry).decode()
    assert 'manager_forward_requests_total{agent_id="echo",outcome="2xx"} 2.0' in page
    assert 'manager_forward_requests_total{agent_id="echo",outcome="client_gone"} 1.0' in page


def test_an_agent_that_nobody_has_asked_has_no_series() -> None:
    assert "agent_id" not in page_after()
