from __future__ import annotations

from typing import Any

import pytest

from agent_service.definition import ModelParameters
from agent_service.errors import EntryPointError
from agent_service.runtimes.react import retries
from agent_service.runtimes.react.failures import ModelFailed, ModelUnavailable
from agent_service.runtimes.react.models import build_model
from agent_service.runtimes.tools.secrets import Secrets
from tests.unit.agent_service.runtimes.react.harness import answered, calls, definition, streamed, tokens


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize(("said", "output"), [(0, "first"), (1, "second"), (2, "first")])
def test_the_line_is_the_number_of_the_assistants_messages_and_the_script_begins_anew(said: int, output: str) -> None:
    history = [each for _ in range(said) for each in (user("x"), assistant("y"))]
    assert answered(definition("first", "second"), input=[*history, user("x")])["output"] == output


def test_every_try_that_failed_takes_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_DELAY_SECONDS", 0)
    made = definition({"error": {"status": 503}}, {"error": {"status": 500}}, "at last", model={"retries": 2})
    chunks, result = streamed(made, input="x")
    assert [chunk["type"] for chunk in chunks] == ["retry", "retry", "token", "token"]
    assert (result["output"], result["usage"]["model_calls"]) == ("at last", 1)


def test_an_error_that_no_try_can_help_fails_the_call() -> None:
    with pytest.raises(ModelFailed, match="400"):
        answered(definition({"error": {"status": 400}}, "never"), input="x")


def test_a_rate_limit_says_when_to_come_back() -> None:
    line = {"error": {"status": 429, "retry_after_seconds": 7, "message": "slow down"}}
    with pytest.raises(ModelUnavailable, match="slow down") as caught:
        answered(definition(line), input="x")
    assert (caught.value.status, caught.value.retry_after_seconds) == (503, 7)


def test_spaces_survive_the_cutting_into_tokens() -> None:
    text = "  one\n\ntwo  three \n"
    chunks, result = streamed(definition(text), input="x")
    assert tokens(chunks) == result["output"] == text
    assert len(chunks) == 4


def test_content_that_is_no_text_is_said_as_json() -> None:
    assert answered(definition({"content": {"a": [1]}}), input="x")["output"] == '{"a": [1]}'


def test_tool_calls_may_name_their_ids() -> None:
    made = definition({"tool_calls": [{"name": "n", "id": "mine"}]}, "done")
    assert answered(made, input="x")["tool_calls"][0]["id"] == "mine"


def test_answers_are_the_same_each_time() -> None:
    made = definition(calls("n", "n"), "done")
    assert answered(made, input="x") == answered(made, input="x")


@pytest.mark.parametrize(
    ("script", "wrong"),
    [
        ([], "empty"),
        ([{"text": "x"}], r"script\.0\.text"),
        (["ok", {"delay_ms": -1}], r"script\.1\.delay_ms"),
        ([{"error": {"status": 200}}], r"script\.0\.error\.status"),
        ([7], r"script\.0"),
    ],
)
def test_a_wrong_script_is_refused_with_its_place(script: list[Any], wrong: str) -> None:
    parameters = ModelParameters(provider="scripted", model="m", script=script)
    with pytest.raises(EntryPointError, match=wrong):
        build_model(parameters, Secrets(str))
