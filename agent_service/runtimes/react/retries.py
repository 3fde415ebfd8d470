"""The edge to the model: each call has its time, is tried again where that may help, and is counted."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

import structlog
from langchain.agents.middleware.types import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage

from agent_service.backoff import backoff
from agent_service.definition import ModelParameters
from agent_service.errors import Refusal
from agent_service.runtimes.react.chunks import retry_chunk
from agent_service.runtimes.react.failures import Failure, MalformedCall, assess, refusal
from agent_service.runtimes.react.turn import Turn
from agent_service.runtimes.react.usage import UsageMeter

log = structlog.stdlib.get_logger(__name__)

Handler = Callable[[ModelRequest[Turn]], Awaitable[ModelResponse[Any]]]

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
# A provider that asks for more patience than this is not waited for: the caller is told how long instead.
LONGEST_ASKED_SECONDS = 60.0


class PatientModel(AgentMiddleware[Any, Turn]):
    """Waits exponentially, with jitter, and at least as long as `Retry-After` says.

    `redact`: takes secrets out of what providers say. Raises `Refusal`s only.
    """

    def __init__(
        self,
        parameters: ModelParameters,
        meter: UsageMeter,
        redact: Callable[[str], str],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._parameters = parameters
        self._meter = meter
        self._redact = redact
        self._sleep = sleep
        self._jitter = jitter

    async def awrap_model_call(self, request: ModelRequest[Turn], handler: Handler) -> ModelResponse[Any]:
        attempt = 0
        while True:
            try:
                async with asyncio.timeout(self._parameters.timeout_seconds):
                    response = await handler(request)
                self._count(request.runtime.context, response)
                _require_usable(response)
            except Refusal:
                raise
            except Exception as error:  # noqa: BLE001 - providers' errors have no common root; all of them are told the caller
                attempt += 1
                await self._sleep(self._next_try(request, error, attempt))
            else:
                self._meter.call_ended("succeeded")
                return response

    def _next_try(self, request: ModelRequest[Turn], error: Exception, attempt: int) -> float:
        """Seconds until the next try. Raises the `Refusal` where there is none."""
        failure = self._assess(error)
        request.runtime.context.failed_attempts += 1
        self._meter.call_ended(failure.kind)
        delay = self._delay(attempt)
        asked = failure.retry_after_seconds or 0.0
        if not failure.transient or attempt > self._parameters.retries or asked > LONGEST_ASKED_SECONDS:
            raise refusal(failure, attempt, delay) from error
        delay = max(delay, asked)
        log.warning("Model call failed, trying again", kind=failure.kind, error=failure.sentence, wait_seconds=delay)
        request.runtime.stream_writer(retry_chunk(failure.kind, delay))
        return delay

    def _assess(self, error: Exception) -> Failure:
        failure = assess(error, self._parameters.model)
        return replace(failure, sentence=self._redact(failure.sentence))

    def _delay(self, attempt: int) -> float:
        return backoff(attempt - 1, first=FIRST_DELAY_SECONDS, longest=LONGEST_DELAY_SECONDS, jitter=self._jitter())

    def _count(self, turn: Turn, response: ModelResponse[Any]) -> None:
        for message in response.result:
            if isinstance(message, AIMessage):
                self._meter.count(turn.tally, cast("dict[str, Any] | None", message.usage_metadata))


def _require_usable(response: ModelResponse[Any]) -> None:
    """Raises `MalformedCall` for a message that would end the turn with a tool call unanswered and nothing said."""
    for message in response.result:
        if isinstance(message, AIMessage) and message.invalid_tool_calls and not message.tool_calls:
            call = message.invalid_tool_calls[0]
            raise MalformedCall(f"the arguments of {call['name']!r} are no JSON")
