from __future__ import annotations

import pytest

from agent_service.backoff import backoff


@pytest.mark.parametrize(("attempt", "whole"), [(0, 0.5), (1, 1), (3, 4), (4, 5), (10_000, 5)])
def test_it_doubles_up_to_a_bound_and_half_of_it_is_chance(attempt: int, whole: float) -> None:
    assert backoff(attempt, first=0.5, longest=5, jitter=1.0) == whole
    assert backoff(attempt, first=0.5, longest=5, jitter=0.5) == whole * 0.75
    assert backoff(attempt, first=0.5, longest=5, jitter=0.0) == whole / 2
