from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata

from agent_service.definition import ModelParameters
from agent_service.errors import Refusal
from agent_service.runtimes.react.failures import ModelFailed, ModelUnavailable
from agent_service.runtimes.react.retries import LONGEST_DELAY_SECONDS, PatientModel
from agent_service.runtimes.react.scripted import ScriptedError, ScriptedFailure
from agent_service.runtimes.react.turn import Turn
from agent_service.runtimes.react.usage import UsageMeter, UsageTotals


@dataclass
class FakeRuntime:
    context: Turn = field(default_factory=Turn)
    chunks: list[dict[str, Any]] = field(default_factory=list)

    def stream_writer(self, chunk: dict[str, Any]) -> None:
        self.chunks.append(chunk)


class Scene:
    """One model call whose tries go as told: an exception is raised, None is an answer, a message is one of its own."""

    def __init__(self, *tries: Exception | AIMessage | None, jitter: float = 1.0, **parameters: Any) -> None:
        self.tries = list(tries)
        self.slept: list[float] = []
        self.runtime = FakeRuntime()
        self.totals = UsageTotals()
        made = ModelParameters(provider="ollama", model="m", **parameters)
        self.patient = PatientModel(
            made, UsageMeter(made, self.totals), self.redact, sleep=self.sleep, jitter=lambda: jitter
        )

    def run(self) -> ModelResponse[Any]:
        request: ModelRequest[Turn] = ModelRequest(
            model=cast("Any", None), messages=[], runtime=cast("Any", self.runtime)
        )
        return asyncio.run(self.patient.awrap_model_call(request, self.handler))

    async def handler(self, request: ModelRequest[Turn]) -> ModelResponse[Any]:
        error = self.tries.pop(0)
        if isinstance(error, AIMessage):
            return ModelResponse(result=[error])
        if error is not None:
            raise error
        usage = UsageMetadata(input_tokens=5, output_tokens=2, total_tokens=7)
        return ModelResponse(result=[AIMessage("fine", usage_metadata=usage)])

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def redact(self, text: str) -> str:
        return text.replace("sk-secret", "[redacted]")

    def counted(self, name: str) -> dict[tuple[str, ...], float]:
        samples = [sample for family in self.totals.collect() for sample in family.samples]
        return {tuple(each.labels.values()): each.value for each in samples if each.name == name}


def failed(status: int, **failure: Any) -> ScriptedError:
    return ScriptedError(ScriptedFailure(status=status, **failure))


def test_waits_grow_exponentially_up_to_a_limit() -> None:
    scene = Scene(*[failed(503)] * 9, None, retries=9)
    scene.run()
    assert scene.slept == [0.5, 1, 2, 4, 8, 16, *[LONGEST_DELAY_SECONDS] * 3]


def test_jitter_takes_off_up_to_half() -> None:
    scene = Scene(failed(503), failed(503), None, jitter=0.0)
    scene.run()
    assert scene.slept == [0.25, 0.5]


def test_retry_after_is_honoured_where_it_is_longer() -> None:
    scene = Scene(failed(429, retry_after_seconds=7), failed(429, retry_after_seconds=0.1), None)
    scene.run()
    assert scene.slept == [7, 1]


def test_who_asks_for_much_patience_is_not_waited_for() -> None:
    scene = Scene(failed(429, retry_after_seconds=3600))
    with pytest.raises(ModelUnavailable) as caught:
        scene.run()
    assert (caught.value.retry_after_seconds, scene.slept) == (3600, [])


def test_tries_are_limited() -> None:
    scene = Scene(*[failed(500)] * 3, retries=2)
    with pytest.raises(ModelUnavailable, match="asked 3 times"):
        scene.run()
    assert scene.tries == []


def test_what_no_try_can_help_is_not_tried_again() -> None:
    scene = Scene(failed(401))
    with pytest.raises(ModelFailed):
        scene.run()
    assert scene.slept == []


def test_a_refusal_from_within_passes() -> None:
    scene = Scene(Refusal("no"))
    with pytest.raises(Refusal, match=r"^no$"):
        scene.run()


def test_a_client_is_told_of_each_new_try() -> None:
    scene = Scene(failed(429), None)
    scene.run()
    assert scene.runtime.chunks == [{"type": "retry", "reason": "rate_limited", "wait_seconds": 0.5}]


def test_a_key_that_a_provider_quotes_is_not_passed_on() -> None:
    scene = Scene(failed(401, message="wrong key sk-secret"))
    with pytest.raises(ModelFailed) as caught:
        scene.run()
    assert "sk-secret" not in str(caught.value)


BROKEN = AIMessage(
    "", invalid_tool_calls=[{"name": "add", "args": "{1", "id": "1", "error": None, "type": "invalid_tool_call"}]
)


def test_a_tool_call_that_is_no_json_is_asked_for_again() -> None:
    scene = Scene(BROKEN, None)
    assert scene.run().result[0].text == "fine"
    assert scene.runtime.chunks[0]["reason"] == "malformed"


def test_a_model_that_cannot_call_tools_fails_and_is_not_called_away() -> None:
    with pytest.raises(ModelFailed, match="'add'"):
        Scene(BROKEN, BROKEN, retries=1).run()


def test_every_try_and_every_token_is_counted() -> None:
    scene = Scene(failed(429), TimeoutError(), None)
    scene.run()
    assert scene.counted("agent_model_calls_total") == {
        ("m", "rate_limited"): 1,
        ("m", "timed_out"): 1,
        ("m", "succeeded"): 1,
    }
    assert scene.counted("agent_model_tokens_total") == {("m", "input"): 5, ("m", "output"): 2}
    assert scene.runtime.context.failed_attempts == 2
    assert scene.runtime.context.tally.as_json()["total_tokens"] == 7
