from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.telemetry.traffic import RELATIVE_ERROR, WINDOW_INTERVALS, Recent, Traffic, bucket_of, quantile_ms

ECHO = frozenset({"echo"})


def observe(traffic: Traffic, *seconds: float, failed: bool = False) -> None:
    for each in seconds:
        traffic.observe("echo", failed=failed, seconds=each)


@given(st.lists(st.floats(1e-5, 3600), min_size=1, max_size=200), st.floats(0, 1))
def test_a_quantile_is_as_exact_as_promised_whatever_its_size(latencies: list[float], share: float) -> None:
    counts: dict[int, int] = {}
    for seconds in latencies:
        counts[bucket_of(seconds)] = counts.get(bucket_of(seconds), 0) + 1
    found = quantile_ms(counts, share)
    true = sorted(latencies)[int(share * (len(latencies) - 1))] * 1000
    # Three digits are shown of it.
    assert found == pytest.approx(true, rel=RELATIVE_ERROR + 0.006)


def test_there_is_no_quantile_of_nothing() -> None:
    assert quantile_ms({}, 0.5) is None


def test_a_latency_of_nothing_is_taken_too() -> None:
    traffic = Traffic()
    observe(traffic, 0.0)
    assert traffic.recent("echo", 1.0).p50_ms == pytest.approx(0.001, rel=0.06)


def test_an_agent_without_requests_has_none() -> None:
    assert Traffic().recent("echo", 10.0) == Recent()


def test_requests_count_from_the_moment_that_they_end() -> None:
    traffic = Traffic()
    observe(traffic, 0.1, 0.1, 0.1)
    observe(traffic, 0.2, failed=True)
    recent = traffic.recent("echo", 2.0)
    assert (recent.requests, recent.requests_per_second, recent.errors, recent.error_ratio) == (4, 2.0, 1, 0.25)
    assert recent.p50_ms == pytest.approx(100, rel=0.06)
    assert recent.p95_ms == pytest.approx(100, rel=0.06)
    assert traffic.recents(2.0) == {"echo": recent}


def test_one_that_tells_nothing_of_the_agents_speed_counts_as_a_request_only() -> None:
    traffic = Traffic()
    traffic.observe("echo", failed=False, seconds=None)
    recent = traffic.recent("echo", 1.0)
    assert (recent.requests, recent.p50_ms, recent.p95_ms) == (1, None, None)


def test_an_interval_that_is_closed_has_what_ended_within_it() -> None:
    traffic = Traffic()
    observe(traffic, 0.1, 0.1)
    first = traffic.close_interval(10.0, ECHO)["echo"]
    observe(traffic, 0.5)
    second = traffic.close_interval(10.0, ECHO)["echo"]
    assert [(each.requests, sum(each.latencies.values())) for each in (first, second)] == [(2, 2), (1, 1)]
    assert traffic.recent("echo", 0.0).requests == 3


def test_the_window_forgets_what_is_older_and_nothing_else() -> None:
    traffic = Traffic()
    observe(traffic, 5.0)
    for _ in range(WINDOW_INTERVALS):
        traffic.close_interval(10.0, ECHO)
        observe(traffic, 0.1)
    recent = traffic.recent("echo", 0.0)
    assert (recent.requests, recent.p95_ms) == (WINDOW_INTERVALS + 1, pytest.approx(100, rel=0.06))
    assert traffic.close_interval(10.0, ECHO)["echo"].requests == 1
    recent = traffic.recent("echo", 0.0)
    assert (recent.requests, recent.requests_per_second) == (WINDOW_INTERVALS, 0.1)


def test_an_agent_that_was_idle_for_the_whole_window_takes_no_memory() -> None:
    traffic = Traffic()
    observe(traffic, 0.1)
    for _ in range(WINDOW_INTERVALS):
        assert "echo" in traffic.close_interval(10.0, ECHO)
    traffic.close_interval(10.0, ECHO)
    assert traffic.close_interval(10.0, ECHO) == {}
    assert traffic.recents(0.0) == {}


def test_an_agent_that_is_gone_is_forgotten() -> None:
    traffic = Traffic()
    observe(traffic, 0.1)
    assert traffic.close_interval(10.0, ()) == {}
    assert traffic.recent("echo", 0.0) == Recent()


def test_the_sum_of_the_window_is_what_its_intervals_come_to_after_a_long_time() -> None:
    traffic, dice = Traffic(), random.Random(7)
    for _ in range(500):
        observe(traffic, *(dice.expovariate(10) for _ in range(dice.randrange(20))))
        traffic.close_interval(10.0, ECHO)
    observe(traffic, 0.1)
    for _ in range(WINDOW_INTERVALS):
        traffic.close_interval(10.0, ECHO)
    recent = traffic.recent("echo", 0.0)
    assert (recent.requests, recent.p50_ms) == (1, pytest.approx(100, rel=0.06))
