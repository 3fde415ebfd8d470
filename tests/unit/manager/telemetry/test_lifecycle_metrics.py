from __future__ import annotations

from typing import Any

import pytest

from manager.events import EventBus, EventKind
from manager.telemetry.exposition import parse, render
from manager.telemetry.lifecycle_metrics import LifecycleMetrics
from tests.unit.manager.fakes.clock import FakeClock


class Watched:
    """The metrics on a bus on which the test publishes, by a clock that it moves."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.bus = EventBus(self.clock)
        self.metrics = LifecycleMetrics(self.clock)
        self.metrics.listen(self.bus)

    def publish(self, kind: EventKind, *, after: float = 0.0, instance_id: str = "i-1", **data: Any) -> None:
        self.clock.advance(after)
        self.bus.publish(kind, "It happens.", agent_id="echo", instance_id=instance_id, **data)

    def page(self, *agent_ids: str) -> set[str]:
        rendered = render(self.metrics.families(agent_ids or ("echo",))).decode()
        assert parse(rendered)
        return set(rendered.splitlines())

    def sum_of(self, family: str, labels: str = 'agent_id="echo"') -> dict[str, float]:
        """Its count and its sum; empty where it is not on the page."""
        found = (line.rpartition(" ") for line in self.page() if f"{labels}}}" in line)
        return {
            series.partition("{")[0].removeprefix(f"{family}_"): round(float(value), 6)
            for series, _, value in found
            if series.startswith((f"{family}_count", f"{family}_sum"))
        }


STARTS, DRAINS = "agent_start_duration_seconds", "agent_drain_duration_seconds"


def test_a_start_lasts_from_the_order_to_the_registration() -> None:
    watched = Watched()
    watched.publish(EventKind.INSTANCE_STARTED, spawn_seconds=0.25)
    watched.publish(EventKind.INSTANCE_REGISTERED, after=0.5)
    assert watched.sum_of(STARTS) == {"count": 1, "sum": 0.75}
    assert f'{STARTS}_bucket{{agent_id="echo",le="0.5"}} 0' in watched.page()
    assert f'{STARTS}_bucket{{agent_id="echo",le="1.0"}} 1' in watched.page()


def test_a_process_that_registers_before_it_is_told_of_counts_too() -> None:
    watched = Watched()
    watched.publish(EventKind.INSTANCE_REGISTERED)
    watched.publish(EventKind.INSTANCE_STARTED, after=0.125, spawn_seconds=0.5)
    assert watched.sum_of(STARTS) == {"count": 1, "sum": 0.375}


@pytest.mark.parametrize("first", [None, EventKind.INSTANCE_ADOPTED])
def test_what_was_not_started_here_has_no_start(first: EventKind | None) -> None:
    watched = Watched()
    if first is not None:
        watched.publish(first)
    watched.publish(EventKind.INSTANCE_REGISTERED, after=5)
    watched.publish(EventKind.INSTANCE_REGISTERED, after=5)
    assert watched.sum_of(STARTS) == {"count": 0, "sum": 0}


def test_a_process_that_ends_before_it_registers_has_no_start_either() -> None:
    watched = Watched()
    watched.publish(EventKind.INSTANCE_STARTED, spawn_seconds=0.25)
    watched.publish(EventKind.INSTANCE_EXITED, after=1, code=1, signal=None, expected=False)
    watched.publish(EventKind.INSTANCE_REGISTERED, after=1)
    assert watched.sum_of(STARTS) == {"count": 0, "sum": 0}


def test_strangers_that_come_and_go_are_not_remembered_for_ever() -> None:
    watched = Watched()
    for number in range(3000):
        watched.publish(EventKind.INSTANCE_REGISTERED, instance_id=f"i-{number}")
    watched.publish(EventKind.INSTANCE_STARTED, instance_id="i-0", spawn_seconds=0.5)
    assert watched.sum_of(STARTS) == {"count": 0, "sum": 0}
    watched.publish(EventKind.INSTANCE_STARTED, instance_id="i-2999", spawn_seconds=0.5)
    assert watched.sum_of(STARTS) == {"count": 1, "sum": 0.5}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"code": 0, "expected": True}, "asked"),
        ({"signal": 9, "expected": True}, "asked"),
        ({"code": 0}, "finished"),
        ({"code": 3}, "error"),
        ({"signal": 11}, "signal"),
        ({"signal": 9, "by_manager": True}, "ended_by_manager"),
        ({}, "unknown"),
    ],
)
def test_exits_are_counted_by_their_reason(data: dict[str, Any], reason: str) -> None:
    watched = Watched()
    watched.publish(EventKind.INSTANCE_EXITED, **{"code": None, "signal": None, "expected": False, **data})
    exits = {line for line in watched.page() if line.startswith("agent_exits_total")}
    assert len(exits) == 6
    assert {line for line in exits if not line.endswith(" 0")} == {
        f'agent_exits_total{{agent_id="echo",reason="{reason}"}} 1'
    }


def test_a_drain_lasts_to_the_end_of_the_process() -> None:
    watched = Watched()
    watched.publish(EventKind.DRAIN_STARTED, timeout_seconds=30)
    # Somebody is in a hurry: the same drain, with a nearer deadline.
    watched.publish(EventKind.DRAIN_STARTED, after=2, timeout_seconds=1)
    watched.publish(EventKind.INSTANCE_EXITED, after=1, code=0, signal=None, expected=True)
    assert watched.sum_of(DRAINS, 'agent_id="echo",outcome="finished"') == {"count": 1, "sum": 3}
    assert watched.sum_of(DRAINS, 'agent_id="echo",outcome="timed_out"') == {}


def test_a_drain_whose_deadline_passed_is_counted_apart() -> None:
    watched = Watched()
    watched.publish(EventKind.DRAIN_STARTED, timeout_seconds=30)
    watched.publish(EventKind.DRAIN_TIMED_OUT, after=30, in_flight=1)
    watched.publish(EventKind.INSTANCE_EXITED, after=1, code=0, signal=None, expected=True)
    assert watched.sum_of(DRAINS, 'agent_id="echo",outcome="timed_out"') == {"count": 1, "sum": 31}


def test_an_end_that_nobody_ordered_is_no_drain() -> None:
    watched = Watched()
    watched.publish(EventKind.DRAIN_TIMED_OUT, in_flight=1)
    watched.publish(EventKind.INSTANCE_EXITED, code=1, signal=None, expected=False)
    assert not any(line.startswith(DRAINS) for line in watched.page())


def test_two_processes_of_an_agent_are_told_apart() -> None:
    watched = Watched()
    watched.publish(EventKind.INSTANCE_STARTED, spawn_seconds=0.0)
    watched.publish(EventKind.INSTANCE_STARTED, after=1, instance_id="i-2", spawn_seconds=0.0)
    watched.publish(EventKind.INSTANCE_REGISTERED, after=1, instance_id="i-2")
    watched.publish(EventKind.INSTANCE_REGISTERED, after=1)
    assert watched.sum_of(STARTS) == {"count": 2, "sum": 4}


def test_an_agent_of_which_nothing_was_heard_yet_begins_at_zero() -> None:
    page = Watched().page("new")
    assert 'agent_exits_total{agent_id="new",reason="error"} 0' in page
    assert 'agent_start_duration_seconds_count{agent_id="new"} 0' in page


def test_an_agent_that_is_gone_is_forgotten() -> None:
    watched = Watched()
    watched.publish(EventKind.INSTANCE_EXITED, code=1, signal=None, expected=False)
    assert not any("echo" in line for line in watched.page("other"))
    watched.metrics.retain({"other"})
    assert 'agent_exits_total{agent_id="echo",reason="error"} 0' in watched.page()


def test_events_of_the_manager_are_none_of_an_agents() -> None:
    watched = Watched()
    watched.bus.publish(EventKind.MANAGER_STARTED, "It serves.")
    watched.bus.publish(EventKind.STATE_CHANGED, "It runs.", agent_id="echo", state="running", previous="starting")
    assert watched.sum_of(STARTS) == {"count": 0, "sum": 0}
