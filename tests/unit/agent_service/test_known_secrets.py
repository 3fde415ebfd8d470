from __future__ import annotations

from pathlib import Path

import pytest

from agent_service.definition import AgentDefinition
from agent_service.known_secrets import known_secrets


def definition(key: str) -> AgentDefinition:
    parameters = {"provider": "openai", "model": "m", "base_url": "http://localhost:1/v1", "api_key": key}
    return AgentDefinition.model_validate({"behavior": {"system_prompt": "Help.", "model_parameters": parameters}})


def test_tokens_and_the_variables_that_are_named_are_secret() -> None:
    environ = {"AGENT_SECRETS": "TEAM_KEY, SHORT,GONE", "TEAM_KEY": "hunter2", "SHORT": "abc", "OTHER": "public"}
    assert known_secrets(environ, None, ("t0ken", None)) == ["t0ken", "hunter2"]
    assert known_secrets({}, None, (None, None)) == []


def test_what_a_definition_refers_to_is_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_text("from-a-file\n")
    assert known_secrets({"KEY": "from-the-environment"}, definition("env:KEY"), ()) == ["from-the-environment"]
    assert known_secrets({}, definition("file:key"), ()) == ["from-a-file"]


def test_a_reference_that_leads_nowhere_is_left_to_who_needs_it() -> None:
    assert known_secrets({}, definition("env:KEY"), ()) == []
