from __future__ import annotations

import pytest

from agent_service.runtimes.tools.timing import Timing


@pytest.mark.parametrize(("attempt", "longest"), [(0, 1), (1, 2), (3, 8), (4, 10), (10_000, 10)])
def test_the_wait_doubles_up_to_a_bound_and_jitter_takes_at_most_half(attempt: int, longest: float) -> None:
    timing = Timing(first_backoff=1, longest_backoff=10)
    assert timing.backoff(attempt, 1.0) == longest
    assert timing.backoff(attempt, 0.0) == longest / 2
