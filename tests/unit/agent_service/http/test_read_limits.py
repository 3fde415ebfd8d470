from __future__ import annotations

from agent_service.http.read_limits import (
    BODY_BYTES_PER_SECOND,
    BODY_SECONDS,
    HEAD_SECONDS,
    KEEP_ALIVE_SECONDS,
    Awaited,
    ReadLimits,
)


def test_a_connection_without_a_request_has_as_long_as_a_head() -> None:
    limits = ReadLimits(100.0)
    assert limits.awaited is Awaited.REQUEST
    assert not limits.is_over(100.0 + HEAD_SECONDS - 1) and limits.is_over(100.0 + HEAD_SECONDS)


def test_bytes_of_a_head_buy_no_time() -> None:
    limits = ReadLimits(0.0)
    limits.head_begins(10.0)
    assert limits.is_over(10.0 + HEAD_SECONDS)


def test_an_upload_that_keeps_the_pace_may_take_for_ever() -> None:
    limits = ReadLimits(0.0)
    limits.body_begins(0.0)
    for second in range(100_000):
        assert not limits.is_over(float(second))
        limits.body_comes(float(second), BODY_BYTES_PER_SECOND)


def test_an_upload_may_pause() -> None:
    limits = ReadLimits(0.0)
    limits.body_begins(0.0)
    for pause in range(100):
        now = pause * (BODY_SECONDS - 1)
        assert not limits.is_over(now)
        limits.body_comes(now, 100_000)


def test_a_byte_now_and_then_is_no_upload() -> None:
    limits = ReadLimits(0.0)
    limits.body_begins(0.0)
    for second in range(int(BODY_SECONDS)):
        limits.body_comes(float(second), 1)
    assert limits.is_over(BODY_SECONDS + 1)


def test_what_is_sent_fast_is_no_credit_beyond_the_reserve() -> None:
    limits = ReadLimits(0.0)
    limits.body_begins(0.0)
    limits.body_comes(0.0, 10**9)
    assert limits.is_over(BODY_SECONDS)


def test_while_the_server_works_nothing_is_awaited() -> None:
    limits = ReadLimits(0.0)
    limits.body_begins(0.0)
    limits.request_ends()
    assert not limits.is_over(1e9)
    limits.answered(1e9)
    assert not limits.is_over(1e9 + KEEP_ALIVE_SECONDS - 1) and limits.is_over(1e9 + KEEP_ALIVE_SECONDS)


def test_an_answer_before_the_end_of_the_body_does_not_end_the_wait_for_it() -> None:
    limits = ReadLimits(0.0)
    limits.body_begins(0.0)
    limits.answered(1.0)
    assert limits.awaited is Awaited.BODY and limits.is_over(BODY_SECONDS)


def test_a_client_that_is_kept_waiting_has_its_time_anew() -> None:
    limits = ReadLimits(0.0)
    limits.body_begins(0.0)
    limits.server_is_busy(1000.0)
    assert not limits.is_over(1000.0 + BODY_SECONDS - 1)
