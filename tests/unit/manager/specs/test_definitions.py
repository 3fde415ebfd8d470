"""Agents from data in the config: what is refused, what may be shown, and where sidecars are put in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent_service.definition import AgentDefinition
from manager.specs.definitions import public_definition, with_addresses
from manager.specs.fleet_config import as_dummies
from manager.specs.models import AgentConfig
from tests.unit.manager.specs.test_loading import agents, issues, load

MODEL = {"provider": "openai", "model": "m", "base_url": "http://{sidecar:llm}/v1", "api_key": "env:KEY"}
SIDECAR = {"id": "llm", "command": ["x"], "probe": {"http": "/health"}}


def defined(**capabilities: Any) -> dict[str, Any]:
    return {"behavior": {"model_parameters": MODEL}, "capabilities": capabilities}


def react(**changes: Any) -> dict[str, Any]:
    return {"id": "a", "entryPoint": "react", "definition": defined(), "dependsOn": ["llm"], **changes}


def test_an_agent_from_data_is_told_its_definition(tmp_path: Path) -> None:
    config = load(tmp_path, agents(react(), SIDECAR), {"KEY": "hush"})
    assert config.agents[0].spec().definition == AgentDefinition.model_validate(defined())


@pytest.mark.parametrize("written", [{"entryPoint": "react"}, {"definition": defined()}])
def test_definition_and_entry_point_go_together(tmp_path: Path, written: dict[str, Any]) -> None:
    found = issues(tmp_path, agents({"id": "a", **written}, SIDECAR), {"KEY": "hush"})
    assert "entryPoint 'react' needs a definition" in found["agents[0].definition"].allowed


def test_everything_wrong_in_a_definition_is_told_at_once_with_its_path(tmp_path: Path) -> None:
    model = {"provider": "opena", "model": "m", "api_key": "sk-hush", "base_url": "ftp://user:hush@x", "tempreature": 1}
    server = {"name": "s", "transport": "http", "url": "http://x", "headers": {"Authorization": 77}}
    wrong = {"behavior": {"model_parameters": model, "system_prompt": 4}, "capabilities": {"mcp_servers": [server]}}
    found = issues(tmp_path, agents({"id": "a", "entryPoint": "react", "definition": wrong}))
    below = "agents[0].definition.behavior.model_parameters"
    header = "agents[0].definition.capabilities.mcp_servers[0].headers.Authorization"
    assert found.keys() == {
        f"{below}.tempreature",
        f"{below}.provider",
        f"{below}.api_key",
        f"{below}.base_url",
        "agents[0].definition.behavior.system_prompt",
        header,
    }
    assert found[f"{below}.tempreature"].allowed == "did you mean 'temperature'?"
    assert found[f"{below}.api_key"].allowed == "a reference is allowed: env:NAME or file:PATH"
    assert found[header].found == "***" and "hush" not in str(found)


def test_values_of_another_type_are_told_with_what_was_found_and_what_is_allowed(tmp_path: Path) -> None:
    model = {**MODEL, "temperature": "0.4", "max_tokens": 7.5, "retries": True, "timeout_seconds": "60"}
    server = {"name": "s", "transport": "stdio", "command": "x", "args": "y", "timeout_seconds": 0}
    wrong = {
        "behavior": {"model_parameters": model, "guardrails": {"blocked_topics": ["…", "x" * 201]}},
        "capabilities": {"mcp_servers": [server]},
        "tracing": {"enabled": "yes"},
    }
    found = issues(tmp_path, agents(react(definition=wrong), SIDECAR), {"KEY": "hush"})
    below = "agents[0].definition"
    parameters = f"{below}.behavior.model_parameters"
    topics = f"{below}.behavior.guardrails.blocked_topics"
    servers = f"{below}.capabilities.mcp_servers[0]"
    assert {path: (issue.found, issue.allowed) for path, issue in found.items()} == {
        f"{parameters}.temperature": ('"0.4"', "a number is allowed"),
        f"{parameters}.max_tokens": ("7.5", "a whole number is allowed"),
        f"{parameters}.retries": ("true", "a whole number is allowed"),
        f"{parameters}.timeout_seconds": ('"60"', "a number is allowed"),
        f"{topics}[0]": ('"…"', "write a topic with at least one letter or digit"),
        f"{topics}[1]": (f'"{"x" * 78}…', "text of at most 200 characters is allowed"),
        f"{servers}.args": ('"y"', "an array is allowed"),
        f"{servers}.timeout_seconds": ("0", "it should be greater than 0"),
        f"{below}.tracing.enabled": ('"yes"', "true or false is allowed"),
    }


def test_keys_that_do_not_go_together_are_told_at_the_key_that_is_to_be_changed(tmp_path: Path) -> None:
    model = {"provider": "anthropic", "model": "m", "script": []}
    servers = [
        {"name": "s", "transport": "stdio", "url": "http://x"},
        {"name": "t", "transport": "http", "command": "x"},
        {"name": "t", "transport": "ftp", "command": "x"},
    ]
    wrong = {"behavior": {"model_parameters": model}, "capabilities": {"mcp_servers": servers}}
    found = issues(tmp_path, agents({"id": "a", "entryPoint": "react", "definition": wrong}))
    below = "agents[0].definition"
    assert {path.removeprefix(f"{below}."): issue.allowed for path, issue in found.items()} == {
        "behavior.model_parameters.api_key": (
            "the provider 'anthropic' needs a key: write a reference, env:NAME or file:PATH"
        ),
        "behavior.model_parameters.script": "give a script to the provider 'scripted', and to no other",
        "capabilities.mcp_servers[0].url": "transport 'stdio' takes no url",
        "capabilities.mcp_servers[0].command": "transport 'stdio' needs command",
        "capabilities.mcp_servers[1].url": "transport 'http' needs url",
        "capabilities.mcp_servers[1].command": "transport 'http' takes no command",
        "capabilities.mcp_servers[2].transport": "it should be 'http', 'stdio' or 'sse'",
    }


def test_an_output_schema_that_is_none_is_told_before_anything_starts(tmp_path: Path) -> None:
    wrong = {**defined(), "output_schema": {"type": "object", "properties": {"a": {"type": "objekt"}}}}
    found = issues(tmp_path, agents(react(definition=wrong), SIDECAR), {"KEY": "hush"})
    (issue,) = found.values()
    assert issue.path == "agents[0].definition.output_schema.properties.a.type"
    assert issue.found == "what is no JSON Schema ('objekt' is not valid under any of the given schemas)"


def test_a_reference_that_leads_nowhere_names_the_agent_and_the_key(tmp_path: Path) -> None:
    server = {"name": "s", "transport": "stdio", "command": "x", "env": {"TOKEN": "file:nowhere"}}
    found = issues(tmp_path, agents(react(definition=defined(mcp_servers=[server])), SIDECAR))
    key = found["agents[0].definition.behavior.model_parameters.api_key"]
    assert key.found == "'env:KEY', which is not set (agent 'a')"
    assert "which is no file (agent 'a')" in found["agents[0].definition.capabilities.mcp_servers[0].env.TOKEN"].found


def test_a_reference_may_lead_to_the_agents_own_variables(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hush")
    assert load(tmp_path, agents(react(env={"KEY": "file:key"}), SIDECAR)).agents[0].definition is not None


@pytest.mark.parametrize(
    ("needs", "url", "allowed"),
    [
        ([], "http://{sidecar:llm}", "add 'llm' to dependsOn"),
        (["llm"], "http://{sidecar:lm}", "name a sidecar of this file"),
        (["llm", "b"], "http://{sidecar:b}", "name a sidecar of this file"),
    ],
)
def test_a_definition_names_only_sidecars_that_it_depends_on(
    tmp_path: Path, needs: list[str], url: str, allowed: str
) -> None:
    definition = {"behavior": {"model_parameters": {"provider": "openai", "model": "m", "base_url": url}}}
    document = agents(react(definition=definition, dependsOn=needs), SIDECAR, {"id": "b"})
    (issue,) = issues(tmp_path, document).values()
    assert (issue.path, issue.allowed) == ("agents[0].definition.behavior.model_parameters.base_url", allowed)


def test_sidecars_are_put_in_by_their_address() -> None:
    server = {"name": "s", "transport": "http", "url": "http://{sidecar:tools}/mcp"}
    definition = AgentDefinition.model_validate(defined(mcp_servers=[server]))
    filled = with_addresses(definition, {"llm": "127.0.0.1:1", "tools": "127.0.0.1:2"}.__getitem__)
    assert filled.behavior.model_parameters.base_url == "http://127.0.0.1:1/v1"
    assert filled.capabilities.mcp_servers[0].url == "http://127.0.0.1:2/mcp"
    assert definition.behavior.model_parameters.base_url == MODEL["base_url"], "the config stays as it is written"


def test_the_public_sees_references_and_no_secrets_of_a_definition() -> None:
    server = {
        "name": "s",
        "transport": "http",
        "url": "http://user:hush@x/mcp",
        "headers": {"Authorization": "Bearer hush", "X-Key": "env:KEY"},
        "env": {"A_TOKEN": "hush", "MODE": "fast"},
    }
    public = public_definition(AgentDefinition.model_validate(defined(mcp_servers=[server])))
    assert "hush" not in str(public)
    (shown,) = public["capabilities"]["mcp_servers"]
    assert shown["headers"] == {"Authorization": "***", "X-Key": "env:KEY"}
    assert shown["env"]["MODE"] == "fast" and shown["url"] == "http://***@x/mcp"
    assert public["behavior"]["model_parameters"]["api_key"] == "env:KEY"


def test_the_public_form_reads_back_as_the_same_agent() -> None:
    config = AgentConfig.model_validate(react())
    assert AgentConfig.model_validate(config.to_public()) == config


def test_a_dummy_needs_nothing_of_it(tmp_path: Path) -> None:
    written = agents(react(requiresExtra="local"), SIDECAR)
    dummies = as_dummies(load(tmp_path, written, {"KEY": "hush"})).agents
    for agent in dummies:
        assert (agent.entry_point, agent.command, agent.definition, agent.probe) == ("dummy", None, None, None)
        assert agent.requires_extra is None
