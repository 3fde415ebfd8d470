from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from agent_service.runtimes.react.failures import (
    ModelFailed,
    ModelUnavailable,
    assess,
    parse_retry_after,
    refusal,
)
from agent_service.runtimes.react.scripted import ScriptedError, ScriptedFailure


def answered(status: int, **failure: Any) -> ScriptedError:
    return ScriptedError(ScriptedFailure(status=status, **failure))


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 529])
def test_another_try_may_help_after(status: int) -> None:
    assert assess(answered(status), "m").transient


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_no_other_try_helps_after(status: int) -> None:
    assert not assess(answered(status), "m").transient


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (answered(429), "rate_limited"),
        (answered(500), "failed"),
        (TimeoutError(), "timed_out"),
        (httpx.ReadTimeout("slow"), "timed_out"),
        (httpx.ConnectError("refused"), "unreachable"),
        (ConnectionRefusedError(), "unreachable"),
        (ValueError("a bug"), "failed"),
    ],
)
def test_the_kind_of_a_failure(error: Exception, kind: str) -> None:
    failure = assess(error, "m")
    assert failure.kind == kind
    assert failure.transient is not isinstance(error, ValueError)


def test_what_a_wrapped_error_came_of_counts() -> None:
    try:
        raise RuntimeError("wrapped") from httpx.ConnectError("refused")
    except RuntimeError as error:
        assert assess(error, "m").kind == "unreachable"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Fri, 02 Jan 2026 03:04:05 GMT"}, 65),
        ({"retry-after": "Thu, 01 Jan 2026 03:04:05 GMT"}, 0),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_every_form_of_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    now = datetime(2026, 1, 2, 3, 3, 0, tzinfo=UTC).timestamp()
    assert parse_retry_after(headers, now) == seconds


def test_the_caller_is_told_when_to_come_back_in_whole_seconds() -> None:
    told = refusal(assess(answered(429, retry_after_seconds=1.2), "m"), 3, 0.1)
    assert isinstance(told, ModelUnavailable)
    assert (told.status, told.retry_after_seconds) == (503, 2)
    assert "asked 3 times" in str(told)


def test_what_no_try_can_help_is_the_agents_failure() -> None:
    told = refusal(assess(answered(401, message="wrong key"), "m"), 1, 0.1)
    assert isinstance(told, ModelFailed)
    assert "status 401: wrong key" in str(told)
