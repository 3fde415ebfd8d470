from __future__ import annotations

import pytest

from web.texts import (
    age_text,
    bytes_text,
    left_text,
    milliseconds_text,
    percent_text,
    rate_text,
    share_text,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h 0 min"),
        (7500, "2 h 5 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d 0 h"),
        (349_200, "4 d 1 h"),
    ],
)
def test_an_age_is_told_in_at_most_two_units(seconds: float, text: str) -> None:
    assert age_text(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0.2, "1 s"),
        (26.1, "27 s"),
        (59.5, "1 min 0 s"),
        (90, "1 min 30 s"),
        (3599.5, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_a_countdown_rounds_up_and_keeps_its_seconds_below_an_hour(seconds: float, text: str) -> None:
    assert left_text(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 MiB"), (85 * 1024**2, "85 MiB"), (1024**3, "1.0 GiB"), (1_500 * 1024**2, "1.5 GiB")]
)
def test_memory_is_told_in_mib_and_from_one_gib_on_in_gib(size: int, text: str) -> None:
    assert bytes_text(size) == text


@pytest.mark.parametrize(("value", "text"), [(0.04, "0.0 %"), (3.25, "3.2 %"), (10, "10 %"), (187.6, "188 %")])
def test_cpu_has_a_decimal_only_where_it_matters(value: float, text: str) -> None:
    assert percent_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.04, "0.0 ms"), (3.14, "3.1 ms"), (9.96, "10 ms"), (80.4, "80 ms"), (1_400, "1.4 s"), (95_000, "95 s")],
)
def test_a_latency_has_the_digits_that_matter(value: float, text: str) -> None:
    assert milliseconds_text(value) == text


@pytest.mark.parametrize(
    ("per_second", "text"),
    [(0.001, "< 1/min"), (0.02, "1/min"), (0.5, "30/min"), (1.24, "1.2/s"), (9.96, "10/s"), (1_200, "1200/s")],
)
def test_a_rate_is_told_by_the_second_or_where_it_is_rare_by_the_minute(per_second: float, text: str) -> None:
    assert rate_text(per_second) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0 %"), (0.0001, "< 0.1 %"), (0.004, "0.4 %"), (0.0996, "10 %"), (1, "100 %")]
)
def test_a_share_that_is_there_is_never_nothing(share: float, text: str) -> None:
    assert share_text(share) == text
