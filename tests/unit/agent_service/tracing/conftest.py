"""Traces that end with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agent_service.definition import Tracing
from tests.unit.agent_service.tracing.recording import Recording


@pytest.fixture
def record() -> Iterator[Callable[..., Recording]]:
    """Makes recordings, and closes them."""
    made: list[Recording] = []

    def make(defined: Tracing | None = None, **settings: Any) -> Recording:
        made.append(Recording(defined, **settings))
        return made[-1]

    yield make
    for each in made:
        each.tracer.outbox.close(10)
