from __future__ import annotations

import asyncio
import errno
import importlib.util
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from manager.cli.init import CONFIG_NAME, EXAMPLE_AGENT, EXAMPLE_NAME, STARTER
from manager.specs.loading import load_config


def files_under(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


def test_init_writes_a_config_that_is_right_and_says_what_to_do_next(cli: Any) -> None:
    result = cli("init", "fleet")
    fleet = cli.directory / "fleet"
    assert result.exit_code == 0
    assert files_under(fleet) == {"config/agents.config.json", "config/agents.config.schema.json", EXAMPLE_NAME}
    assert "cd fleet" in result.stdout
    assert "agent-manager up" in result.stdout
    config = load_config(fleet / "config/agents.config.json", environ={})
    assert [agent.id for agent in config.agents][-1] == "greeter"
    assert config.project_directory == fleet


def test_what_it_writes_is_the_packages_own_starter_whatever_a_checkout_runs(cli: Any) -> None:
    cli("init")
    written = json.loads((cli.directory / "config" / CONFIG_NAME).read_text("utf-8"))
    starter = json.loads((STARTER / CONFIG_NAME).read_text("utf-8"))
    assert written == {**starter, "agents": [*starter["agents"], EXAMPLE_AGENT]}


def test_the_schema_beside_it_is_the_one_it_names_and_accepts_it(cli: Any) -> None:
    cli("init")
    config_path = cli.directory / "config/agents.config.json"
    config = json.loads(config_path.read_text("utf-8"))
    schema = json.loads((config_path.parent / config["$schema"]).read_text("utf-8"))
    jsonschema.validate(config, schema)


def test_the_example_agent_answers(cli: Any) -> None:
    cli("init")
    spec = importlib.util.spec_from_file_location("example_agent", cli.directory / EXAMPLE_NAME)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert asyncio.run(module.greet({"name": "Ada"})) == {"greeting": "Hello, Ada!"}


def test_init_overwrites_nothing_and_adds_what_is_missing(cli: Any) -> None:
    mine = cli.directory / "config/agents.config.json"
    mine.parent.mkdir()
    mine.write_text("mine")
    result = cli("init")
    assert result.exit_code == 0
    assert mine.read_text() == "mine"
    assert f"kept  {Path('config/agents.config.json')}" in result.stdout
    assert f"wrote {EXAMPLE_NAME}" in result.stdout


@pytest.mark.parametrize("name", ["config", EXAMPLE_NAME])
def test_something_in_the_way_is_one_sentence(cli: Any, name: str) -> None:
    in_the_way = cli.directory / name
    in_the_way.write_text("a file") if name == "config" else in_the_way.mkdir()
    result = cli("init")
    assert result.exit_code == 1
    assert result.stderr.strip().endswith("name another directory.")
    assert str(in_the_way) in result.stderr


def test_a_directory_that_cannot_be_written_is_one_sentence(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    result = cli("init", "locked")
    assert (result.exit_code, "cannot be written (Permission denied)" in result.stderr) == (1, True)
