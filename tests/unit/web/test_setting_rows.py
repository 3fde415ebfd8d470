from __future__ import annotations

from typing import Any

import pytest

from manager.settings import RuntimeSettings
from manager.specs.models import AgentConfig
from web.setting_rows import ValueKind, agent_rows, runtime_rows, value_text


@pytest.mark.parametrize(
    ("value", "text", "kind"),
    [
        (30, "30", ValueKind.PLAIN),
        (True, "true", ValueKind.PLAIN),
        ("x", "x", ValueKind.PLAIN),
        (["a", "é"], '["a", "é"]', ValueKind.PLAIN),
        (None, "none", ValueKind.EMPTY),
        ({}, "{}", ValueKind.EMPTY),
        ([], "[]", ValueKind.EMPTY),
        ("env:KEY", "env:KEY", ValueKind.REFERENCE),
        ("file:/run/key", "file:/run/key", ValueKind.REFERENCE),
        ("***", "hidden", ValueKind.HIDDEN),
        ("two\nlines", "two\nlines", ValueKind.PROSE),
        ("w" * 61, "w" * 61, ValueKind.PROSE),
    ],
)
def test_a_value_is_one_text_and_says_what_it_is(value: Any, text: str, kind: ValueKind) -> None:
    told = value_text(value)
    assert (told.text, told.kind) == (text, kind)


def agent(**changes: Any) -> AgentConfig:
    return AgentConfig.model_validate({"id": "planner", **changes})


def test_what_was_chosen_stands_apart_from_what_is_as_it_would_be_anyway() -> None:
    settings = agent_rows(agent(description="Plans.", drainTimeoutSeconds=7), RuntimeSettings())
    chosen = {row.path: row.value.text for row in settings.chosen}
    usual = {row.path for row in settings.defaults}
    assert chosen == {"description": "Plans.", "entryPoint": "dummy", "drainTimeoutSeconds": "7.0"}
    assert {"instances", "restart.policy", "autostart"} <= usual


def test_an_agents_defaults_are_those_that_the_fleet_has() -> None:
    runtime = RuntimeSettings(drain_timeout_seconds=7)
    config = agent(drainTimeoutSeconds=7)
    assert "drainTimeoutSeconds" not in {row.path for row in agent_rows(config, runtime).chosen}
    assert "drainTimeoutSeconds" in {row.path for row in runtime_rows(runtime).chosen}


def test_a_secret_is_hidden_and_a_reference_is_shown_as_such() -> None:
    env = {"API_KEY": "s3cret", "TEAM_KEY": "env:TEAM_KEY", "MODE": "fast"}
    rows = {row.path: row.value for row in agent_rows(agent(env=env), RuntimeSettings()).chosen}
    assert rows["env.API_KEY"].kind is ValueKind.HIDDEN and "s3cret" not in str(rows)
    assert rows["env.TEAM_KEY"].kind is ValueKind.REFERENCE
    assert rows["env.MODE"].text == "fast"


def test_what_is_the_agents_own_comes_first_and_every_key_says_what_it_is_for() -> None:
    settings = agent_rows(agent(restart="never", description="Plans."), RuntimeSettings())
    paths = [row.path for row in settings.chosen]
    assert paths.index("description") < paths.index("restart.policy")
    assert next(row.help for row in settings.chosen if row.path == "description").startswith("What the agent does")


def test_what_a_definition_leaves_empty_is_no_choice() -> None:
    definition = {
        "behavior": {
            "system_prompt": "Be brief.",
            "model_parameters": {"provider": "openai", "model": "m", "api_key": "env:KEY"},
        },
        "capabilities": {"mcp_servers": [{"name": "files", "transport": "stdio", "command": "serve"}]},
    }
    settings = agent_rows(agent(entryPoint="react", definition=definition), RuntimeSettings())
    chosen = {row.path: row.value.text for row in settings.chosen}
    assert chosen["definition.behavior.system_prompt"] == "Be brief."
    assert chosen["definition.capabilities.mcp_servers[0].name"] == "files"
    assert "definition.output_schema" in {row.path for row in settings.defaults}
