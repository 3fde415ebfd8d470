from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agent_service.definition import Guardrails
from agent_service.errors import EntryPointError
from agent_service.runtimes.react.failures import ModelFailed
from agent_service.runtimes.react.guardrails import WITHHELD, Guard
from tests.unit.agent_service.runtimes.react.harness import (
    Json,
    answered,
    calls,
    definition,
    running,
    streamed,
    tool,
)


def guard(*topics: str) -> Guard:
    return Guard(Guardrails(blocked_topics=list(topics)))


def blocking(*script: Any, topics: tuple[str, ...] = ("dragons",), **constraints: Any) -> Any:
    return definition(*script, guardrails={"blocked_topics": list(topics), "output_constraints": constraints})


@pytest.mark.parametrize(
    ("topic", "text"),
    [
        ("dragons", "Tell me of DRAGONS!"),
        ("dragons", "dragons"),
        ("dragons", "d\u00adra\u200bgons"),
        ("dragons", "\uff44\uff52\uff41\uff47\uff4f\uff4e\uff53"),
        ("dragons", "_dragons_"),
        ("credit card", "my credit-card, please"),
        ("credit card", "my Credit \n Card"),
        ("straße", "STRASSE"),
        ("ﬁre", "fire"),
        ("café", "cafe\u0301"),
        ("C++", "we write c here"),
        ("武器", "有关武器的问题"),
    ],
)
def test_a_topic_is_found(topic: str, text: str) -> None:
    assert guard("other", topic).blocked(text, "input") is not None


@pytest.mark.parametrize(
    ("topic", "text"),
    [
        ("dragon", "dragonfly"),
        ("art", "start the party"),
        ("credit card", "credit the card"),
        ("credit card", "creditcard"),
        ("café", "cafe"),
    ],
)
def test_other_words_pass(topic: str, text: str) -> None:
    assert guard(topic).blocked(text, "input") is None


def test_a_topic_without_letters_is_refused() -> None:
    with pytest.raises(EntryPointError, match="blocked_topics"):
        guard("৴")


def refused(result: Json, name: str, where: str) -> bool:
    assert (result["output"], result["refused"], result["messages"]) == (None, True, [])
    return (result["rule"]["name"], result["rule"]["where"]) == (name, where)


def test_a_blocked_input_never_reaches_the_model() -> None:
    result = answered(blocking("never"), input="What do dragons eat?")
    assert refused(result, "blocked_topics", "input")
    assert result["rule"]["value"] == "dragons"
    assert result["usage"]["model_calls"] == 0


def test_every_message_of_the_input_is_looked_at() -> None:
    history = [{"role": "user", "content": "Dragons?"}, {"role": "user", "content": "And?"}]
    assert refused(answered(blocking("never"), input=history), "blocked_topics", "input")


def test_a_blocked_answer_is_refused_and_no_word_of_it_is_streamed() -> None:
    chunks, result = streamed(blocking("They keep dragons there"), input="What is there?")
    assert refused(result, "blocked_topics", "output")
    assert chunks == []
    assert result["usage"]["model_calls"] == 1


def test_an_answer_that_passed_is_streamed_whole() -> None:
    chunks, result = streamed(blocking("They keep horses there"), input="What is there?")
    assert [chunk["text"] for chunk in chunks] == [result["output"]] == ["They keep horses there"]


def test_a_blocked_tool_call_is_never_made() -> None:
    made = []

    @tool
    async def search(words: str) -> str:
        """Search."""
        made.append(words)
        return "found"

    chunks, result = streamed(blocking(calls("search", words="red dragons")), search, input="What is there?")
    assert refused(result, "blocked_topics", "output")
    assert (chunks, made) == ([], [])


def test_what_a_tool_says_of_a_blocked_topic_is_withheld_from_the_caller() -> None:
    @tool
    async def search() -> str:
        """Search."""
        return "dragons everywhere"

    chunks, result = streamed(blocking(calls("search"), "Nothing."), search, input="What is there?")
    assert (result["output"], result["tool_calls"][0]["result"]) == ("Nothing.", WITHHELD)
    assert "dragons" not in str(chunks) + str(result)


@pytest.mark.parametrize(
    ("constraints", "says", "name"),
    [
        ({"max_chars": 5}, "123456", "max_chars"),
        ({"must_match": r"^\d+$"}, "twelve", "must_match"),
        ({"must_not_match": r"\d"}, "number 12", "must_not_match"),
    ],
)
def test_an_answer_against_a_constraint_is_refused(constraints: Json, says: str, name: str) -> None:
    assert refused(answered(blocking(says, **constraints), input="x"), name, "output")


@pytest.mark.parametrize(
    ("constraints", "says"),
    [({"max_chars": 6}, "123456"), ({"must_match": r"\d"}, "a 1"), ({"must_not_match": r"\d"}, "one")],
)
def test_an_answer_within_the_constraints_passes(constraints: Json, says: str) -> None:
    assert answered(blocking(says, **constraints), input="x")["output"] == says


def test_constraints_are_for_answers_and_not_for_messages_that_call_tools() -> None:
    @tool
    async def search() -> str:
        """Search."""
        return "found"

    made = blocking({"content": "a long way round", **calls("search")}, "short", max_chars=5)
    assert answered(made, search, input="x")["output"] == "short"


def test_a_pattern_that_takes_forever_withholds_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_service.runtimes.react.guardrails.PATTERN_SECONDS", 0.01)
    made = blocking("a" * 40 + "!", must_match=r"^(a|a|aa)+$")
    with pytest.raises(ModelFailed, match="must_match"):
        answered(made, input="x")


def test_a_blocked_word_that_json_would_escape_is_found_in_structured_output() -> None:
    made = definition(
        {"content": {"dish": "café"}}, guardrails={"blocked_topics": ["café"]}, output_schema={"type": "object"}
    )
    assert refused(answered(made, input="x"), "blocked_topics", "output")


def test_a_refused_answer_is_not_kept_in_the_thread(tmp_path: Path) -> None:
    async def scenario() -> str:
        made = definition("dragons", guardrails={"blocked_topics": ["dragons"]}, memory={"kind": "thread"})
        async with running(made, directory=tmp_path) as runtime:
            await runtime.execute({"input": "What is there?", "thread_id": "t"})
            return (await (await runtime.threads()).read("t")).model_dump_json()

    kept = asyncio.run(scenario())
    assert '"content":"dragons"' not in kept
    assert '"refused":{"name":"blocked_topics"' in kept
