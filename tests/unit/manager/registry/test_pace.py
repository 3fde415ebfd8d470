from __future__ import annotations

from manager.registry.pace import LONGEST_RETRY_SECONDS, Pace


def test_before_anything_is_measured_it_is_a_second() -> None:
    assert Pace().retry_after(waiting=1000, slots=1) == 1


def test_it_is_the_time_in_which_those_who_wait_will_have_been_served() -> None:
    pace = Pace()
    pace.note(2.0)
    assert pace.retry_after(waiting=9, slots=4) == 5
    assert pace.retry_after(waiting=0, slots=4) == 1


def test_it_follows_what_is_measured() -> None:
    pace = Pace()
    pace.note(100.0)
    for _ in range(100):
        pace.note(1.0)
    assert pace.retry_after(waiting=9, slots=1) == 11


def test_it_is_bounded() -> None:
    pace = Pace()
    pace.note(10_000.0)
    assert pace.retry_after(waiting=100, slots=1) == LONGEST_RETRY_SECONDS
