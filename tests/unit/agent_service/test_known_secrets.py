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


@pytest.mark.parametrize("name", ["LANGFUSE_SECRET_KEY", "openai_api_key", "DB_PASSWORD", "HF_TOKEN"])
def test_a_variable_whose_name_says_so_is_secret(name: str) -> None:
    assert known_secrets({name: "correct-horse-battery"}, None, ()) == ["correct-horse-battery"]
    assert known_secrets({name: "correct-horse", "MANAGER_TOKEN": "correct-horse"}, None, ("correct-horse",)) == [
        "correct-horse"
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DB_PASSWORD", "required"),
        ("DB_PASSWORD", "/run/secrets/db-password"),
        ("TOKENIZERS_PARALLELISM", "false-and-more"),
        ("AGENT_SECRETS", "DB_PASSWORD,DB_USER"),
        ("KEYBOARD_LAYOUT", "us-international"),
    ],
)
def test_words_and_paths_and_other_variables_are_not(name: str, value: str) -> None:
    assert known_secrets({name: value}, None, ()) == []


def test_what_a_definition_refers_to_is_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_text("from-a-file\n")
    assert known_secrets({"KEY": "from-the-environment"}, definition("env:KEY"), ()) == ["from-the-environment"]
    assert known_secrets({}, definition("file:key"), ()) == ["from-a-file"]


def test_a_reference_that_leads_nowhere_is_left_to_who_needs_it() -> None:
    assert known_secrets({}, definition("env:KEY"), ()) == []
