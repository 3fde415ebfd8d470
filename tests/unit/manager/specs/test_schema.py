"""The committed schema is the models', and judges as they do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from manager.cli.init import CONFIG_NAME, STARTER
from manager.errors import ConfigError
from manager.specs.loading import load_config
from manager.specs.schema import json_schema, main, schema_text

CONFIG = Path(__file__).parents[4] / "config"


def test_the_committed_schema_is_current() -> None:
    committed = (CONFIG / "agents.config.schema.json").read_text(encoding="utf-8")
    assert committed == schema_text(), "run: python -m manager.specs.schema --write"


def test_the_schema_is_one_and_has_a_title() -> None:
    Draft202012Validator.check_schema(json_schema())
    assert json_schema()["$schema"] == Draft202012Validator.META_SCHEMA["$schema"]
    assert json_schema()["title"]


def test_the_starter_is_valid() -> None:
    Draft202012Validator(json_schema()).validate(json.loads((STARTER / CONFIG_NAME).read_text(encoding="utf-8")))


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if "properties" in schema and "additionalProperties" in schema:
            yield schema
        for member in schema.values():
            yield from objects(member)


def test_every_key_has_a_description() -> None:
    schema = json_schema()
    found = list(objects(schema))
    assert {"AgentConfig", "RestartSettings", "ModelParameters", "McpServer"} <= {part["title"] for part in found}
    for part in found:
        assert part["additionalProperties"] is False
        for key, value in part["properties"].items():
            # One that says the same as what it refers to is left to that.
            target = schema["$defs"].get(value.get("$ref", "").rpartition("/")[2], {})
            assert value.get("description") or target.get("description"), key


def defined(*servers: Any, model: Any = (), **parts: Any) -> dict[str, Any]:
    """A document with an agent from data; `model`: what its model parameters have besides."""
    parameters = {"provider": "openai", "model": "m", "base_url": "http://x/v1", **dict(model)}
    written = {"behavior": {"model_parameters": parameters}, "capabilities": {"mcp_servers": [*servers]}, **parts}
    return {"agents": [{"id": "a", "entryPoint": "react", "definition": written}]}


@pytest.mark.parametrize(
    ("document", "valid"),
    [
        (defined(), True),
        (defined(model={"temperature": 0, "max_tokens": 5, "timeout_seconds": 1}), True),
        (defined(model={"temperature": "0.4"}), False),
        (defined(model={"max_tokens": 5.5}), False),
        (defined(model={"retries": True}), False),
        (defined(model={"base_url": None}), False),
        (defined(model={"base_url": None, "api_key": "env:HOME"}), True),
        (defined(model={"base_url": None, "provider": "ollama"}), True),
        (defined(model={"provider": "scripted", "script": ["x"]}), True),
        (defined(model={"provider": "scripted"}), False),
        (defined(model={"script": ["x"]}), False),
        (defined(memory={"kind": "thread"}, tracing={"enabled": 1}), False),
        (defined(capabilities={"rag_collections": [{"collection_id": "c"}]}), False),
        (defined({"name": "s", "transport": "http", "url": "http://x"}), True),
        (defined({"name": "s", "transport": "stdio", "command": "x", "args": ["y"]}), True),
        (defined({"name": "s", "transport": "stdio", "url": "http://x"}), False),
        (defined({"name": "s", "transport": "sse", "url": "http://x", "command": "x"}), False),
        (defined({"name": "s", "transport": "http", "url": "http://x", "retries": "2"}), False),
        (defined({"name": "s", "transport": "http", "url": "http://x", "allowed_tools": "all"}), False),
        ({}, True),
        ({"$schema": "x", "runtime": {"restart": "never", "allowedHosts": ["a"]}}, True),
        ({"agents": [{"id": "a", "restart": {"policy": "always", "doNotRetryExitCodes": [1]}}]}, True),
        ({"agents": [{"id": "a", "command": ["x"], "env": {"K": "env:HOME"}}]}, True),
        ({"agents": [{"id": "a", "entryPoint": "p.q:a.b", "metadata": {"k": [None, 1.5]}}]}, True),
        ({"agents": [{"id": "a", "command": ["x"], "entryPoint": "dummy"}]}, False),
        ({"agents": [{"id": "a", "entryPoint": "nothing"}]}, False),
        ({"agents": [{"id": "a", "env": {"AGENT_ID": "x"}}]}, False),
        ({"agents": [{"id": "a", "env": {"K": 1}}]}, False),
        ({"agents": [{"id": "A"}]}, False),
        ({"agents": [{"name": "a"}]}, False),
        ({"agents": [{"id": "a", "port": 0}]}, False),
        ({"agents": [{"id": "a", "definition": {}}]}, False),
        ({"agents": [{"id": "a", "command": ["x"], "probe": {"http": "/health"}, "dependsOn": []}]}, True),
        ({"agents": [{"id": "a", "command": ["x"], "probe": {"http": "health"}}]}, False),
        ({"runtime": {"managerUrl": "https://x"}}, False),
        ({"runtime": {"restart": "perhaps"}}, False),
        ({"runtime": {"maxQueue": "1"}}, False),
        ({"runtime": {"max_queue": 1}}, False),
        ({"$schema": None}, False),
        ([], False),
    ],
)
def test_schema_and_loader_agree(tmp_path: Path, document: object, valid: bool) -> None:
    path = tmp_path / "agents.config.json"
    path.write_text(json.dumps(document))
    try:
        load_config(path, environ={"HOME": "/"})
        loads = True
    except ConfigError:
        loads = False
    assert (loads, Draft202012Validator(json_schema()).is_valid(document)) == (valid, valid)


def test_the_command_prints_or_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out == schema_text()
    assert main(["--write", str(tmp_path / "schema.json")]) == 0
    assert (tmp_path / "schema.json").read_text(encoding="utf-8") == schema_text()
