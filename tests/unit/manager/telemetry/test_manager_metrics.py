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
