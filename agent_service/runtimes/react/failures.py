"""What went wrong with a model: whether another try may help, when, and what the caller is told."""

from __future__ import annotations

import email.utils
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agent_service.errors import Refusal

_TRANSIENT_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
# By name: each provider's library has an HTTP client, and errors, of its own.
_TRANSIENT_NAMES = frozenset({"TransportError", "APIConnectionError", "ConnectionError", "TimeoutError"})
MAX_QUOTE = 500


class ModelFailed(Refusal):
    """The model refused the request for good, or answered what cannot be used."""

    status = 500


class ModelUnavailable(Refusal):
    """The model has no answer now: a rate limit, an overload, a time-out, nobody there. A later call may have one."""

    status = 503

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class MalformedCall(Exception):
    """The model called a tool with arguments that are no JSON, and said nothing else that could be done."""


@dataclass(frozen=True)
class Failure:
    """`kind`: the label that metrics have for it. `retry_after_seconds`: what the provider asked for.

    `transient`: another try may help. `is_away`: it is the provider who cannot answer now.
    """

    kind: str
    transient: bool
    sentence: str
    retry_after_seconds: float | None = None
    is_away: bool = True


def assess(error: Exception, model: str) -> Failure:
    """What a provider's exception means; one without HTTP status or connection in it is never transient."""
    if isinstance(error, MalformedCall):
        return Failure("malformed", True, f"The model {model!r} called a tool wrongly: {error}", is_away=False)
    status = status_of(error)
    quote = " ".join(str(error).split())[:MAX_QUOTE]
    if status is not None:
        kind = "rate_limited" if status == 429 else "failed"
        sentence = f"The model {model!r} answered with status {status}: {quote}"
        return Failure(kind, status in _TRANSIENT_STATUSES, sentence, _retry_after(error))
    if any(isinstance(each, TimeoutError) or "Timeout" in type(each).__name__ for each in _chain(error)):
        return Failure("timed_out", True, f"The model {model!r} did not answer in time ({quote or 'time-out'})")
    if any(name in _TRANSIENT_NAMES for each in _chain(error) for name in _names(each)):
        return Failure("unreachable", True, f"The model {model!r} cannot be reached: {quote}")
    return Failure("failed", False, f"The model {model!r} failed: {type(error).__name__}: {quote}")


def refusal(failure: Failure, tries: int, wait_seconds: float) -> Refusal:
    """The answer to the caller once there are no tries left."""
    if not failure.transient or not failure.is_away:
        return ModelFailed(f"{failure.sentence}. Correct the request or the agent's model_parameters.")
    asked = failure.retry_after_seconds
    seconds = math.ceil(wait_seconds if asked is None else asked)
    tried = "once" if tries == 1 else f"{tries} times"
    return ModelUnavailable(f"{failure.sentence}. It was asked {tried}; try again later.", max(1, seconds))


def status_of(error: Exception) -> int | None:
    """The HTTP status that an exception of any provider's library carries."""
    for each in _chain(error):
        for name in ("status_code", "code", "status"):
            value = getattr(each, name, None)
            if isinstance(value, int) and 400 <= value <= 599:
                return value
    return None


def _retry_after(error: Exception) -> float | None:
    for each in _chain(error):
        headers = getattr(getattr(each, "response", None), "headers", None)
        if isinstance(headers, Mapping) and (seconds := parse_retry_after(headers)) is not None:
            return seconds
    return None


def parse_retry_after(headers: Mapping[str, Any], now: float | None = None) -> float | None:
    """Seconds, from `retry-after-ms` or `retry-after` (seconds, or an HTTP date)."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        text = str(headers.get(name, ""))
        try:
            seconds = float(text) / unit
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    try:
        moment = email.utils.parsedate_to_datetime(str(headers.get("retry-after", "")))
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - (time.time() if now is None else now))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came of."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def _names(error: BaseException) -> Iterator[str]:
    return (kind.__name__ for kind in type(error).__mro__)
