from __future__ import annotations

from manager.telemetry.series import MANAGER_SERIES
from manager.telemetry.vitals import Vitals


def vitals(*cpu_seconds: float) -> Vitals:
    """Of a process that has taken so much CPU each time it is asked."""
    readings = iter(cpu_seconds)
    return Vitals(cpu_seconds=lambda: next(readings), rss_bytes=lambda: 1024.0)


def test_it_tells_of_the_time_since_it_was_last_asked() -> None:
    asked = vitals(1.0, 1.5)
    for _ in range(20):
        asked.request()
    for seconds in (0.001, 0.25, 0.002):
        asked.lag(seconds)
        asked.store_call(2 * seconds)
    asked.streams(1)
    asked.streams(1)
    asked.streams(-1)
    assert asked.take(10.0) == {
        "cpu_percent": 5.0,
        "rss_bytes": 1024.0,
        "requests_per_second": 2.0,
        "loop_lag_ms": 250.0,
        "store_ms": 500.0,
        "open_streams": 1,
    }


def test_longest_delays_are_told_once_and_what_is_open_stays() -> None:
    asked = vitals(0.0, 0.0, 0.0)
    asked.lag(0.25)
    asked.store_call(0.25)
    asked.streams(1)
    asked.take(10.0)
    again = asked.take(10.0)
    assert (again["loop_lag_ms"], again["store_ms"], again["open_streams"]) == (0.0, None, 1)


def test_no_time_has_no_rates() -> None:
    asked = vitals(0.0, 0.5).take(0.0)
    assert (asked["cpu_percent"], asked["requests_per_second"]) == (None, None)


def test_it_tells_what_the_managers_series_are() -> None:
    assert tuple(Vitals().take(1.0)) == MANAGER_SERIES


def test_it_measures_this_process() -> None:
    taken = Vitals().take(10.0)
    assert 1e6 < (taken["rss_bytes"] or 0) < 10e9
    assert taken["cpu_percent"] is not None and taken["cpu_percent"] >= 0
