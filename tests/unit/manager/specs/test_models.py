"""One agent: what may be written, what the adapter is told, what the public sees."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from agent_service.contract import AgentSpec
from manager.specs.models import AgentConfig


def agent(**written: Any) -> AgentConfig:
    return AgentConfig.model_validate({"id": "a", **written})


def test_an_id_is_enough() -> None:
    config = agent()
    assert (config.name, config.entry_point, config.command, config.port) == ("a", "dummy", None, None)
    assert config.autostart and config.env == {} and config.metadata == {}


def test_a_command_stands_instead_of_an_entry_point() -> None:
    config = agent(command=["node", "agent.js"])
    assert (config.command, config.entry_point) == (("node", "agent.js"), None)


@pytest.mark.parametrize("entry_point", ["dummy", "pkg:attr", "pkg.mod:attr", "pkg.mod:a.b", "_p:_a", "päckchen:größe"])
def test_entry_points_name_a_module_and_an_attribute(entry_point: str) -> None:
    assert agent(entryPoint=entry_point).entry_point == entry_point


@pytest.mark.parametrize(
    "written",
    [
        {"entryPoint": text}
        for text in (
            "",
            "pkg",
            "pkg:",
            ":attr",
            "pkg:a:b",
            "pkg..mod:a",
            ".pkg:a",
            "p-k:a",
            "pkg/mod.py:a",
            "a:class",
            "a: b",
        )
    ]
    + [
        {"entryPoint": None},
        {"command": []},
        {"command": [" "]},
        {"command": "node agent.js"},
        {"command": ["a\0b"]},
        {"command": ["a"], "entryPoint": "dummy"},
        {"port": 0},
        {"port": 80.0},
        {"env": {"1A": "x"}},
        {"env": {"": "x"}},
        {"env": {"AGENT_ID": "x"}},
        {"env": {"agent_id": "x"}},
        {"env": {"MANAGER_TOKEN_PREVIOUS": "x"}},
        {"env": {"A": "x\0"}},
        {"env": {"A": None}},
        {"id": "UPPER"},
        {"id": "a" * 64},
        {"id": "ends-with-newline\n"},
    ],
)
def test_impossible_agents_are_refused(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        agent(**written)


def test_the_adapter_is_told_its_part_only() -> None:
    config = agent(
        name="A", entryPoint="p:a", metadata={"k": [1]}, drainTimeoutSeconds=3, defaultModel="m", env={"K": "v"}
    )
    assert config.spec() == AgentSpec(
        id="a", name="A", entry_point="p:a", metadata={"k": [1]}, drain_timeout_seconds=3, default_model="m"
    )


def test_every_field_of_the_spec_comes_from_the_config() -> None:
    assert set(AgentSpec.model_fields) - {"state_directory"} <= set(AgentConfig.model_fields)


def test_the_public_sees_references_and_no_secrets() -> None:
    env = {
        "A_KEY": "hush",
        "auth_token": "hush",
        "Db_Password": "hush",
        "DATABASE": "postgres://user:hush@host/db",
        "B_SECRET": "env:WHERE",
        "C": "file:secrets/c",
        "MODE": "fast",
    }
    public = agent(env=env, port=9, metadata={"empty": None}).to_public()
    assert public["env"] == {
        "A_KEY": "***",
        "auth_token": "***",
        "Db_Password": "***",
        "DATABASE": "postgres://***@host/db",
        "B_SECRET": "env:WHERE",
        "C": "file:secrets/c",
        "MODE": "fast",
    }
    assert public["port"] == 9 and public["metadata"] == {"empty": None}
    assert public["restart"]["maxCrashes"] == 5
    assert "command" not in public and "defaultModel" not in public


def test_the_public_form_reads_back_as_the_same_agent() -> None:
    config = agent(command=["x"], port=9, env={"K": "env:K"}, restart="never")
    assert AgentConfig.model_validate(config.to_public() | {"entryPoint": None}) == config
