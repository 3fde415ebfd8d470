from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from manager.diagnosis import configuration
from manager.diagnosis.configuration import check_config, check_extras, check_tokens
from manager.errors import ConfigIssue
from tests.unit.manager.diagnosis.set_up import broken, found, surroundings


def test_a_right_config_is_counted(tmp_path: Path) -> None:
    around = surroundings(tmp_path, {"id": "one"})
    assert found(check_config, around) == [("ok", f"{around.config_path} is right: 1 agent")]


def test_everything_that_is_wrong_with_a_config_is_told(tmp_path: Path) -> None:
    issues = [ConfigIssue("agents[0].port", "'x'", "a whole number is allowed"), ConfigIssue("a", "b", "c")]
    around = replace(broken(surroundings(tmp_path)), issues=issues)
    findings = list(check_config(around))
    assert [(each.level, each.remedy) for each in findings] == [("error", "a whole number is allowed"), ("error", "c")]
    assert "agents[0].port: found 'x'" in findings[0].message


@pytest.mark.parametrize(
    ("environ", "level", "message"),
    [
        ({}, "ok", "Tokens are off"),
        ({"MANAGER_TOKEN": "x" * 32}, "ok", "Tokens are on (1 accepted)"),
        ({"MANAGER_TOKEN": "x" * 32, "MANAGER_TOKEN_PREVIOUS": "y" * 32}, "ok", "(2 accepted)"),
        ({"MANAGER_TOKEN": "s3cr3t"}, "warning", "can be guessed"),
        ({"MANAGER_TOKEN": "with space in it and long"}, "error", "white space"),
        ({"MANAGER_TOKEN_PREVIOUS": "y" * 32}, "error", "a token without MANAGER_TOKEN"),
    ],
)
def test_tokens(environ: dict[str, str], level: str, message: str, tmp_path: Path) -> None:
    ((found_level, text),) = found(check_tokens, replace(surroundings(tmp_path), environ=environ))
    assert (found_level, message in text) == (level, True)
    assert not any(value in text for value in environ.values())


def test_an_open_door_without_a_token_is_an_error(tmp_path: Path) -> None:
    around = surroundings(tmp_path, runtime={"managerUrl": "http://10.0.0.1:8000"})
    ((level, message),) = found(check_tokens, around)
    assert (level, "can be reached by others" in message) == ("error", True)


def test_a_missing_extra_names_the_agents_that_will_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    around = surroundings(tmp_path, *({"id": name, "requiresExtra": "openai"} for name in ("a", "b")), {"id": "c"})
    monkeypatch.setattr(configuration, "is_installed", lambda _: False)
    assert found(check_extras, around) == [("warning", "The extra 'openai' is not installed, so a, b will not start")]
    (finding,) = check_extras(around)
    assert finding.remedy == "pip install 'agent-manager[openai]'"
    monkeypatch.setattr(configuration, "is_installed", lambda _: True)
    assert found(check_extras, around) == [("ok", "Installed: openai")]


def test_a_fleet_without_extras_has_nothing_to_say(tmp_path: Path) -> None:
    assert found(check_extras, surroundings(tmp_path, {"id": "c"})) == []
