from __future__ import annotations

import sys
from typing import Any

import pytest

from agent_service.definition import ModelParameters
from agent_service.errors import EntryPointError
from agent_service.runtimes.react.models import OPENAI_URL, build_model
from agent_service.runtimes.tools.secrets import Secrets


def build(**parameters: Any) -> Any:
    secrets = Secrets(lambda reference: {"env:KEY": "the-key"}[reference])
    return build_model(ModelParameters.model_validate({"model": "m", **parameters}), secrets).chat


def test_openai_gets_what_the_parameters_say_and_nothing_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_BASE", "http://elsewhere")
    monkeypatch.setenv("OPENAI_API_KEY", "another-key")
    model = build(provider="openai", api_key="env:KEY", temperature=0.5, max_tokens=7, timeout_seconds=9)
    assert (model.openai_api_base, model.openai_api_key.get_secret_value()) == (OPENAI_URL, "the-key")
    assert (model.model_name, model.temperature, model.max_tokens) == ("m", 0.5, 7)
    assert (model.request_timeout, model.max_retries) == (9, 0)


def test_a_compatible_server_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "another-key")
    model = build(provider="openai", base_url="http://localhost:1/v1")
    assert model.openai_api_base == "http://localhost:1/v1"
    assert model.openai_api_key.get_secret_value() != "another-key"


@pytest.mark.parametrize(
    ("provider", "module"),
    [
        ("openai", "langchain_openai"),
        ("ollama", "langchain_ollama"),
        ("anthropic", "langchain_anthropic"),
        ("google", "langchain_google_genai"),
    ],
)
def test_a_missing_extra_is_named(provider: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EntryPointError, match=rf"install agent-manager\[{provider}\]"):
        build(provider=provider, api_key="env:KEY")
