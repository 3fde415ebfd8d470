"""docs/configuration.md names every setting with its default and its variable."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from manager.settings import AgentSettings, RestartSettings, RuntimeSettings, env_name
from manager.specs.models import AgentConfig
from manager.specs.probe import ProbeSettings
from manager.webhook_settings import WebhookSettings

PAGE = (Path(__file__).parents[4] / "docs" / "configuration.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    (found,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


def row(title: str, field: FieldInfo) -> list[str]:
    """The cells of the key's row: key, default, then the rest."""
    rows = [
        line.strip("|").split("|") for line in section(title).splitlines() if line.startswith(f"| `{field.alias}` |")
    ]
    assert len(rows) == 1, f"{field.alias} needs one row under '{title}' in docs/configuration.md"
    return [cell.strip() for cell in rows[0]]


def fields(model: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    return list(model.model_fields.items())


@pytest.mark.parametrize(("name", "field"), fields(RuntimeSettings), ids=lambda value: str(value)[:40])
def test_a_runtime_setting_is_documented_with_default_and_variable(name: str, field: FieldInfo) -> None:
    _, default, variable, meaning = row("runtime", field)
    expected = "always" if name == "restart" else field.get_default()
    assert default == f"`{json.dumps(expected)}`"
    assert variable == f"`{env_name(name)}`"
    assert len(meaning) > 20


@pytest.mark.parametrize(("name", "field"), fields(AgentConfig), ids=lambda value: str(value)[:40])
def test_an_agents_key_is_documented(name: str, field: FieldInfo) -> None:
    _, default, meaning = row("agents", field)
    assert (default == "the runtime's") == (name in AgentSettings.model_fields)
    assert len(meaning) > 20


@pytest.mark.parametrize(("name", "field"), fields(RestartSettings), ids=lambda value: str(value)[:40])
def test_a_restart_key_is_documented_with_its_default(name: str, field: FieldInfo) -> None:
    _, default, meaning = row("restart", field)
    assert default == f"`{json.dumps(field.get_default())}`"
    assert len(meaning) > 20


@pytest.mark.parametrize(("name", "field"), fields(ProbeSettings), ids=lambda value: str(value)[:40])
def test_a_key_of_a_probe_is_documented_with_its_default(name: str, field: FieldInfo) -> None:
    _, default, meaning = row("Sidecars and dependencies", field)
    assert default == ("required" if field.is_required() else f"`{json.dumps(field.get_default())}`")
    assert len(meaning) > 20


@pytest.mark.parametrize(("name", "field"), fields(WebhookSettings), ids=lambda value: str(value)[:40])
def test_a_key_of_a_webhook_is_documented_with_its_default(name: str, field: FieldInfo) -> None:
    _, default, meaning = row("Webhooks", field)
    assert default == ("required" if field.is_required() else f"`{json.dumps(field.get_default())}`")
    assert len(meaning) > 20


def test_the_examples_are_json() -> None:
    examples = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert examples
    for example in examples:
        json.loads(example)
