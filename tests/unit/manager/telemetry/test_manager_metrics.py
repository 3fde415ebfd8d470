from __future__ import annotations

from prometheus_client import generate_latest

from manager.events import EventBus, EventKind
from manager.telemetry.manager_metrics import ManagerMetrics
from tests.unit.manager.telemetry.fleet import FixedClock


def test_every_kind_of_event_is_counted_from_zero_on() -> None:
    metrics, bus = ManagerMetrics(version="1"), EventBus(FixedClock())
    metrics.count_events(bus)
    bus.publish(EventKind.START_FAILED, "x")
    bus.publish(EventKind.START_FAILED, "x")
    page = generate_latest(metrics.registry).decode()
    for kind in EventKind:
        count = 2.0 if kind is EventKind.START_FAILED else 0.0
        assert f'manager_events_total{{kind="{kind.value}"}} {count}\n' in page


def test_two_managers_in_one_process_do_not_share_metrics() -> None:
    first, second = ManagerMetrics(version="1"), ManagerMetrics(version="2")
    first.observe_request(method="GET", route="/", status=200, seconds=1)
    assert 'route="/"' in generate_latest(first.registry).decode()
    assert 'route="/"' not in generate_latest(second.registry).decode()


def test_delays_and_open_streams_are_told_to_the_page_and_to_the_vitals_alike() -> None:
    metrics = ManagerMetrics(version="1")
    metrics.observe_loop_lag(0.002)
    metrics.observe_loop_lag(0.2)
    metrics.observe_store(0.004)
    metrics.observe_request(method="GET", route="/", status=200, seconds=1)
    for _ in range(3):
        metrics.stream_opened("/api/events")
    metrics.stream_closed("/api/events")
    page = generate_latest(metrics.registry).decode()
    assert 'manager_event_loop_lag_seconds_bucket{le="0.1"} 1.0\n' in page
    assert "manager_event_loop_lag_seconds_count 2.0\n" in page
    assert 'manager_store_duration_seconds_bucket{le="0.005"} 1.0\n' in page
    assert 'manager_open_streams{route="/api/events"} 2.0\n' in page
    taken = metrics.vitals.take(1.0)
    assert {name: taken[name] for name in ("loop_lag_ms", "store_ms", "open_streams", "requests_per_second")} == {
        "loop_lag_ms": 200.0,
        "store_ms": 4.0,
        "open_streams": 2,
        "requests_per_second": 1.0,
    }
