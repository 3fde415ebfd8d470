"""The committed schema is the models', and judges as they do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from agent_service import definition
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


def test_the_shipped_config_is_valid() -> None:
    Draft202012Validator(json_schema()).validate(json.loads((CONFIG / "agents.config.json").read_text()))


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if "properties" in schema and "additionalProperties" in schema:
            yield schema
        for member in schema.values():
            yield from objects(member)


def test_every_key_has_a_description() -> None:
    # What an agent definition is made of is explained by its own page.
    foreign = {name for name, kind in vars(definition).items() if isinstance(kind, type)}
    found = [schema for schema in objects(json_schema()) if schema["title"] not in foreign]
    assert len(found) == 6
    for schema in found:
        assert schema["additionalProperties"] is False
        for key, value in schema["properties"].items():
            assert value.get("description"), key


@pytest.mark.parametrize(
    ("document", "valid"),
    [
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
