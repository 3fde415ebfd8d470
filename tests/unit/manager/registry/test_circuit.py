from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from manager.registry.circuit import (
    FAILURES_TO_OPEN,
    FIRST_DELAY_SECONDS,
    MAX_DELAY_SECONDS,
    Circuit,
    CircuitState,
)


def opened(now: float = 0.0) -> Circuit:
    circuit = Circuit()
    assert [circuit.failed(now, is_probe=False) for _ in range(FAILURES_TO_OPEN)] == [False] * 4 + [True]
    return circuit


def test_it_opens_after_failures_in_a_row() -> None:
    circuit = opened()
    assert circuit.state is CircuitState.OPEN
    assert not circuit.admits(FIRST_DELAY_SECONDS - 0.001)


def test_an_answer_in_between_begins_the_count_anew() -> None:
    circuit = Circuit()
    for _ in range(10):
        for _ in range(FAILURES_TO_OPEN - 1):
            circuit.failed(0.0, is_probe=False)
        assert not circuit.answered()
    assert circuit.state is CircuitState.CLOSED


def test_after_the_delay_one_request_finds_out() -> None:
    circuit = opened()
    assert circuit.admits(1.0)
    assert circuit.probe(1.0)
    assert circuit.state is CircuitState.HALF_OPEN
    assert not circuit.admits(1.5)
    assert circuit.answered()
    assert circuit.state is CircuitState.CLOSED and circuit.admits(1.5)


def test_each_failed_probe_doubles_the_delay_up_to_its_limit() -> None:
    circuit, now, delays = opened(), 0.0, []
    for _ in range(7):
        assert circuit.retry_at is not None
        delays.append(circuit.retry_at - now)
        now = circuit.retry_at
        assert circuit.probe(now)
        assert not circuit.failed(now, is_probe=True)
    assert delays == [1, 2, 4, 8, 16, MAX_DELAY_SECONDS, MAX_DELAY_SECONDS]


def test_requests_sent_before_it_opened_tell_nothing_new() -> None:
    circuit = opened()
    before = circuit.retry_at
    assert not circuit.failed(0.5, is_probe=False)
    assert circuit.retry_at == before


def test_a_probe_that_never_tells_its_outcome_blocks_nothing() -> None:
    circuit = opened()
    circuit.probe(1.0)
    assert circuit.admits(1.0 + FIRST_DELAY_SECONDS)


@given(st.lists(st.tuples(st.floats(0, 60), st.sampled_from(["sent", "failed", "answered"]))))
def test_whatever_happens_it_is_tried_again_within_the_longest_delay(steps: list[tuple[float, str]]) -> None:
    circuit, now = Circuit(), 0.0
    for passed, what in steps:
        now += passed
        if what == "sent" and circuit.admits(now):
            circuit.probe(now)
        elif what == "failed":
            circuit.failed(now, is_probe=circuit.state is CircuitState.HALF_OPEN)
        elif what == "answered":
            circuit.answered()
            assert circuit.state is CircuitState.CLOSED
        assert circuit.admits(now + MAX_DELAY_SECONDS)
        assert (circuit.state is CircuitState.CLOSED) == (circuit.retry_at is None)
