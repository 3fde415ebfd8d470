from __future__ import annotations

import secrets
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent_service.definition import Tracing
from agent_service.http.request_context import bind, context_of, request_context
from agent_service.tracing.parents import Parent, is_sampled, parent_of, unsampled

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ALL, NONE, OFF = Tracing(), Tracing(sample_rate=0), Tracing(enabled=False)


def scope(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "http", "headers": list(headers)}
    bind(request_context(made["headers"]), made)
    return made


def called(flags: str) -> dict[str, Any]:
    return scope((b"traceparent", f"00-{TRACE}-{SPAN}-{flags}".encode()))


def test_a_callers_decision_holds_whatever_the_share() -> None:
    assert parent_of(called("01"), NONE) == Parent(int(TRACE, 16), int(SPAN, 16), is_sampled=True)
    assert parent_of(called("00"), ALL) == Parent(int(TRACE, 16), int(SPAN, 16), is_sampled=False)


def test_an_agent_that_is_not_traced_is_not_for_any_caller() -> None:
    assert not parent_of(called("01"), OFF).is_sampled
    assert not parent_of(scope(), OFF).is_sampled


def test_of_the_flags_the_first_bit_counts() -> None:
    assert parent_of(called("03"), ALL).is_sampled
    assert not parent_of(called("02"), ALL).is_sampled


def test_a_trace_that_begins_here_has_the_id_of_the_log_and_no_parent() -> None:
    made = scope()
    parent = parent_of(made, ALL)
    assert f"{parent.trace_id:032x}" == context_of(made).trace_id
    assert parent.span_id is None
    assert parent.is_sampled
    assert not parent_of(made, NONE).is_sampled


def test_a_traceparent_that_cannot_be_read_begins_a_trace() -> None:
    assert parent_of(scope((b"traceparent", b"00-0-0-01")), ALL).span_id is None


def test_the_tracestate_of_a_caller_is_kept() -> None:
    header = (b"traceparent", f"00-{TRACE}-{SPAN}-01".encode())
    assert parent_of(scope(header, (b"tracestate", b"a=1"), (b"tracestate", b"b=2")), ALL).trace_state == "a=1,b=2"
    assert parent_of(scope((b"tracestate", b"a=1")), ALL).trace_state == ""


def test_what_nobody_records_is_told_on_as_such() -> None:
    assert unsampled(context_of(called("01"))) == f"00-{TRACE}-{SPAN}-00"


def test_a_share_is_about_met() -> None:
    taken = sum(is_sampled(secrets.randbits(128), 0.25) for _ in range(4000))
    # Ten standard deviations.
    assert 1000 - 275 < taken < 1000 + 275


@given(st.integers(1, 2**128 - 1), st.floats(0, 1), st.floats(0, 1))
def test_a_trace_in_a_share_is_in_every_larger_one(trace_id: int, one: float, other: float) -> None:
    less, more = sorted((one, other))
    assert is_sampled(trace_id, more) >= is_sampled(trace_id, less)
    assert is_sampled(trace_id, 1.0)
    assert not is_sampled(trace_id, 0.0)
