"""What a soak calls a leak."""

from __future__ import annotations

import pytest

from scripts.soaking.readings import MAX_GROWTH_BYTES, MAX_MORE, Reading, leaks

QUIET = Reading(0, 100e6, 30, 10)


def under_load(*, grows_by: float) -> list[Reading]:
    """Ten minutes of readings, with some noise."""
    return [Reading(at, 120e6 + grows_by * at / 600 + (at % 7) * 1e5, 90, 60) for at in range(0, 601, 10)]


def test_what_ends_as_it_began_is_no_leak() -> None:
    assert leaks(QUIET, under_load(grows_by=0), QUIET._replace(descriptors=30 + MAX_MORE, tasks=10 + MAX_MORE)) == []


def test_a_process_that_filled_its_pools_and_then_stays_is_no_leak() -> None:
    readings = under_load(grows_by=0)
    assert leaks(QUIET, [Reading(0, 60e6, 90, 60), *readings[1:]], QUIET) == []


@pytest.mark.parametrize("field", ["descriptors", "tasks"])
def test_what_is_still_open_afterwards_is_a_leak(field: str) -> None:
    after = QUIET._replace(**{field: getattr(QUIET, field) + MAX_MORE + 1})
    (found,) = leaks(QUIET, under_load(grows_by=0), after)
    assert field in found


def test_memory_that_goes_on_growing_is_a_leak() -> None:
    (found,) = leaks(QUIET, under_load(grows_by=2 * MAX_GROWTH_BYTES), QUIET)
    assert "memory" in found
