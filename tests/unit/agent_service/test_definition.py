from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from agent_service.definition import AgentDefinition

MODEL = {"provider": "ollama", "model": "m"}


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"capabilities": {"rag_collections": [{"collection_id": "c"}]}}, "rag_collections belong to a later version"),
        ({"behavior": {"model_parameters": {**MODEL, "api_key": "sk-plain"}}}, "api_key"),
        ({"behavior": {"model_parameters": {**MODEL, "base_url": "http://user:pass@host/"}}}, "base_url"),
        ({"behavior": {"model_parameters": {**MODEL, "base_url": "http://host/?key=x"}}}, "base_url"),
        ({"behavior": {"model_parameters": {**MODEL, "script": ["x"]}}}, "script"),
        ({"behavior": {"model_parameters": {"provider": "scripted", "model": "m"}}}, "script"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_a_definition_may_not_say(part: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        AgentDefinition.model_validate({"behavior": {"model_parameters": MODEL}, **part})


@pytest.mark.parametrize("name", ["must_match", "must_not_match"])
@pytest.mark.parametrize("pattern", ["(", "", "x" * 2001, "a{99999999999}"])
def test_what_is_no_regular_expression_is_refused(name: str, pattern: str) -> None:
    guardrails = {"output_constraints": {name: pattern}}
    with pytest.raises(ValidationError, match=name):
        AgentDefinition.model_validate({"behavior": {"model_parameters": MODEL, "guardrails": guardrails}})
