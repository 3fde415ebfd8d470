from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

GOOD = {"agents": [{"id": "a"}, {"id": "b"}]}
BAD = {"runtime": {"drainTimeoutSeconds": "30"}, "agents": [{"id": "UPPER"}], "extra": 1}


@pytest.fixture
def config(cli: Any) -> Path:
    path: Path = cli.directory / "config/agents.config.json"
    path.parent.mkdir()
    return path


def test_a_good_config_is_found_and_counted(cli: Any, config: Path) -> None:
    config.write_text(json.dumps(GOOD))
    result = cli("config", "check")
    assert (result.exit_code, result.stdout) == (0, f"{Path('config/agents.config.json')}: 2 agents, OK\n")


def test_everything_that_is_wrong_is_listed_at_once(cli: Any, config: Path) -> None:
    config.write_text(json.dumps(BAD))
    result = cli("config", "check", str(config))
    heading, *issues = result.stderr.splitlines()
    assert (result.exit_code, result.stdout) == (1, "")
    assert heading == f"{Path('config/agents.config.json')}: 3 errors"
    assert sorted(issue.split(":")[0].strip() for issue in issues) == [
        "agents[0].id",
        "extra",
        "runtime.drainTimeoutSeconds",
    ]


def test_json_tells_the_same(cli: Any, config: Path) -> None:
    config.write_text(json.dumps(GOOD))
    assert json.loads(cli("config", "check", "--json").stdout) == {"ok": True, "issues": []}
    config.write_text(json.dumps(BAD))
    result = cli("config", "check", "--json")
    answer = json.loads(result.stdout)
    assert (result.exit_code, result.stderr, answer["ok"]) == (1, "", False)
    assert [set(issue) for issue in answer["issues"]] == [{"path", "found", "allowed"}] * 3


def test_references_are_looked_up_in_the_environment(cli: Any, config: Path) -> None:
    config.write_text(json.dumps({"agents": [{"id": "a", "env": {"KEY": "env:A_KEY"}}]}))
    assert "A_KEY" in cli("config", "check").stderr
    cli.environ["A_KEY"] = "hush"
    result = cli("config", "check")
    assert (result.exit_code, result.stdout) == (0, f"{Path('config/agents.config.json')}: 1 agent, OK\n")


def test_a_named_config_that_is_not_there(cli: Any) -> None:
    result = cli("config", "check", "nowhere.json")
    assert result.exit_code == 1
    assert "agent-manager init" in result.stderr
    assert json.loads(cli("config", "check", "nowhere.json", "--json").stdout)["ok"] is False


def test_no_config_anywhere_names_the_remedy(cli: Any) -> None:
    result = cli("config", "check")
    assert result.exit_code == 1
    assert "write one with `agent-manager init` or name it" in result.stderr


def test_a_config_that_is_not_there_is_not_answered_with_an_option_that_the_command_lacks(cli: Any) -> None:
    result = cli("config", "check", "gone.json")
    assert result.exit_code == 1
    assert "found no such file; put a config there; `agent-manager init` writes a first one" in result.stderr
    assert "--config" not in result.stderr
