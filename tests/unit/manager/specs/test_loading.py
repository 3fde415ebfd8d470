"""From a config file to a fleet, or to everything that is wrong with it at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from manager.cli.init import CONFIG_NAME, STARTER
from manager.errors import ConfigError, ConfigIssue
from manager.specs.document import MAX_CONFIG_BYTES
from manager.specs.fleet_config import FleetConfig, as_dummies
from manager.specs.loading import load_config


def write(directory: Path, document: Any) -> Path:
    path = directory / "agents.config.json"
    path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
    return path


def load(directory: Path, document: Any, environ: dict[str, str] | None = None) -> FleetConfig:
    return load_config(write(directory, document), environ=environ or {})


def issues(directory: Path, document: Any, environ: dict[str, str] | None = None) -> dict[str, ConfigIssue]:
    with pytest.raises(ConfigError) as caught:
        load(directory, document, environ)
    assert str(len(caught.value.issues)) in str(caught.value)
    return {issue.path: issue for issue in caught.value.issues}


def agents(*written: object) -> dict[str, object]:
    return {"agents": list(written)}


def test_the_starter_has_examples_and_an_assistant_with_its_model() -> None:
    config = load_config(STARTER / CONFIG_NAME, environ={})
    assert [(agent.id, agent.port, agent.entry_point) for agent in config.agents] == [
        ("planner", 8100, "agent_service.examples.planner:graph"),
        ("executor", 8101, "agent_service.examples.executor:graph"),
        ("echo", 8102, "dummy"),
        ("assistant", 8103, "react"),
        ("llm", None, None),
    ]


def test_no_agents_is_a_fleet(tmp_path: Path) -> None:
    assert load(tmp_path, {}).agents == ()
    assert load(tmp_path, {"agents": []}).agents == ()


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    assert load(tmp_path, b'\xef\xbb\xbf{"agents": [{"id": "a"}]}').agents[0].id == "a"


def test_an_agent_has_its_own_value_or_the_variables_or_the_fleets_or_the_default(tmp_path: Path) -> None:
    document = {
        "runtime": {"drainTimeoutSeconds": 7, "maxQueue": 8, "restart": {"maxCrashes": 2}},
        "agents": [{"id": "a", "maxQueue": 9, "restart": "always"}],
    }
    (agent,) = load(tmp_path, document, {"AGENT_MANAGER_DRAIN_TIMEOUT_SECONDS": "11"}).agents
    assert (agent.max_queue, agent.drain_timeout_seconds, agent.max_concurrency) == (9, 11, 256)
    assert (agent.restart.policy, agent.restart.max_crashes, agent.restart.max_delay_seconds) == ("always", 2, 60)


@pytest.mark.parametrize(("parts", "base"), [(("config",), "."), (("fleet",), "fleet"), ((), ".")])
def test_relative_directories_begin_at_the_project_directory(tmp_path: Path, parts: tuple[str, ...], base: str) -> None:
    directory = tmp_path.joinpath(*parts)
    directory.mkdir(exist_ok=True)
    config = load(directory, {"runtime": {"stateDirectory": "deep/state"}})
    assert config.project_directory == tmp_path / base
    assert config.log_directory == tmp_path / base / "logs"
    assert config.state_directory == tmp_path / base / "deep" / "state"


def test_absolute_directories_stay(tmp_path: Path) -> None:
    elsewhere = tmp_path.parent / "elsewhere"
    assert load(tmp_path, {"runtime": {"logDirectory": str(elsewhere)}}).log_directory == elsewhere


def test_a_relative_config_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {})
    monkeypatch.chdir(tmp_path)
    config = load_config(Path("agents.config.json"), environ={})
    assert config.path.is_absolute() and config.log_directory.is_absolute()


def test_a_linked_config_belongs_where_the_link_is(tmp_path: Path) -> None:
    real, shown = tmp_path / "..data", tmp_path / "fleet"
    real.mkdir()
    shown.mkdir()
    link = shown / "agents.config.json"
    link.symlink_to(write(real, {}))
    assert load_config(link, environ={}).project_directory == shown


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    document = {
        "$schema": 1,
        "agnets": [],
        "runtime": {
            "drain_timeout_seconds": 3,
            "maxQueue": "3",
            "managerUrl": "http://user:hush@h",
            "heartbeatIntervalSeconds": 50,
            "restart": {"policy": "perhaps", "maxCrash": 1},
            "_env_file": "/nowhere",
        },
        "agents": [
            {"id": "A b", "port": "80", "env": {"AGENT_X": "1", "two words": "2", "K": 5, "T": "env:NO"}},
            {"id": "x", "port": 9, "entryPoint": "module-attribute"},
            {"id": "x", "port": 9, "command": ["a"], "entryPoint": "dummy"},
            5,
            {"entrypoint": "a:b", "maxBodyBytes": 0},
            {"id": "q", "command": [], "metadata": [], "name": "", "restart": {"initialDelaySeconds": 90}},
        ],
    }
    found = issues(tmp_path, document, {"AGENT_MANAGER_MAX_CONCURRENCY": "many"})
    assert set(found) == {
        "$schema",
        "agnets",
        "runtime.drain_timeout_seconds",
        "runtime.maxQueue",
        "runtime.managerUrl",
        "runtime.heartbeatTtlSeconds",
        "runtime.restart.policy",
        "runtime.restart.maxCrash",
        "runtime._env_file",
        "AGENT_MANAGER_MAX_CONCURRENCY",
        "agents[0].id",
        "agents[0].port",
        "agents[0].env.AGENT_X",
        'agents[0].env["two words"]',
        "agents[0].env.K",
        "agents[0].env.T",
        "agents[1].entryPoint",
        "agents[2].id",
        "agents[2].port",
        "agents[2].entryPoint",
        "agents[3]",
        "agents[4].id",
        "agents[4].entrypoint",
        "agents[4].maxBodyBytes",
        "agents[5].command",
        "agents[5].metadata",
        "agents[5].name",
        "agents[5].restart.maxDelaySeconds",
    }
    assert not any("hush" in str(issue) for issue in found.values())


@pytest.mark.parametrize(
    ("document", "path", "found", "allowed"),
    [
        ({"agnets": []}, "agnets", "an unknown key", "did you mean 'agents'?"),
        ({"runtime": {"max_queue": 1}}, "runtime.max_queue", "an unknown key", "did you mean 'maxQueue'?"),
        ({"runtime": []}, "runtime", "an array of 0", "an object is allowed"),
        ({"agents": {}}, "agents", "an object", "an array is allowed"),
        (agents({"id": "a", "port": 65536}), "agents[0].port", "65536", "it should be less than or equal to 65535"),
        (agents({"id": "a", "port": True}), "agents[0].port", "true", "a whole number is allowed"),
        (agents({"id": "a", "autostart": "yes"}), "agents[0].autostart", '"yes"', "true or false is allowed"),
        (agents({"name": "a"}), "agents[0].id", "nothing", "it is required"),
        (agents({"id": "a", "colour": 1}), "agents[0].colour", "an unknown key", "remove it; allowed are "),
    ],
)
def test_an_issue_tells_what_was_found_and_what_is_allowed(
    tmp_path: Path, document: object, path: str, found: str, allowed: str
) -> None:
    (issue,) = issues(tmp_path, document).values()
    assert (issue.path, issue.found) == (path, found)
    assert issue.allowed.startswith(allowed)


def test_a_wrong_variable_is_named_and_not_the_file(tmp_path: Path) -> None:
    document = {"runtime": {"drainTimeoutSeconds": 3, "restart": {"maxCrashes": 0}}}
    environ = {"AGENT_MANAGER_DRAIN_TIMEOUT_SECONDS": "abc", "AGENT_MANAGER_RESTART": "perhaps"}
    found = issues(tmp_path, document, environ)
    assert set(found) == {*environ, "runtime.restart.maxCrashes"}
    assert found["AGENT_MANAGER_DRAIN_TIMEOUT_SECONDS"].found == '"abc"'


def test_wrong_settings_do_not_put_the_default_port_in_the_way(tmp_path: Path) -> None:
    document = {"runtime": {"managerUrl": "nowhere"}, "agents": [{"id": "a", "port": 8000}]}
    assert set(issues(tmp_path, document)) == {"runtime.managerUrl"}


def test_the_managers_port_is_taken(tmp_path: Path) -> None:
    document = {"runtime": {"managerUrl": "http://127.0.0.1:9000"}, "agents": [{"id": "a", "port": 9000}]}
    assert "manager itself" in issues(tmp_path, document)["agents[0].port"].found


def test_secrets_in_wrong_places_are_not_shown(tmp_path: Path) -> None:
    document = agents(
        {"id": "a", "env": "API=hush"},
        {"id": "b", "env": {"K": ["hush"], "L": 5}, "apiKey": "hush"},
        {"id": "c", "env": {"API_KEY": "hush\0"}},
        {"id": "d", "env": {"AGENT_KEY": "hush"}},
    )
    found = issues(tmp_path, document)
    assert set(found) == {
        "agents[0].env",
        "agents[1].env.K",
        "agents[1].env.L",
        "agents[1].apiKey",
        "agents[2].env.API_KEY",
        "agents[3].env.AGENT_KEY",
    }
    assert not any("hush" in str(issue) for issue in found.values())


@pytest.mark.parametrize(
    ("content", "path", "found"),
    [
        (b"", "line 1, column 1", "not JSON"),
        (b'{\n  "agents": [,]\n}', "line 2, column 14", "not JSON"),
        (b"[]", "(file)", "no object"),
        (b"null", "(file)", "no object"),
        (b'{\n"agents": "\xff"}', "line 2", "0xff, which is not UTF-8"),
        ("{}".encode("utf-16"), "line 1", "not UTF-8"),
        (b'{"runtime": {"maxQueue": NaN}}', "(file)", "NaN"),
        (b'{"runtime": {"maxQueue": 1e999}}', "(file)", "1e999"),
        (b'{"runtime": {"maxQueue": ' + b"9" * 5000 + b"}}", "(file)", "thousands of digits"),
        (b'{"agents": ' + b"[" * 100_000, "(file)", "too deep"),
        (b'{"agents": [{"id": "a", "name": "\\ud800"}]}', "(file)", "surrogate"),
        (b" " * (MAX_CONFIG_BYTES + 1), "(file)", "more than 10 MiB"),
    ],
)
def test_a_file_that_is_no_config_is_refused(tmp_path: Path, content: bytes, path: str, found: str) -> None:
    (issue,) = issues(tmp_path, content).values()
    assert issue.path == path
    assert found in issue.found


def test_a_key_written_twice_is_refused_with_its_path(tmp_path: Path) -> None:
    content = b'{"runtime": {}, "runtime": {}, "agents": [{"id": "a"}, {"id": "b", "env": {"K": "1", "K": "2"}}]}'
    assert set(issues(tmp_path, content)) == {"runtime", "agents[1].env.K"}


def test_data_nested_too_deep_is_refused(tmp_path: Path) -> None:
    content = b'{"agents": [{"id": "a", "metadata": {"m": ' + b"[" * 400 + b"]" * 400 + b"}}]}"
    ((path, issue),) = issues(tmp_path, content).items()
    assert path.startswith("agents[0].metadata.m")
    assert issue.allowed == "flatten it, it is nested too deep"


def test_no_file_and_a_directory_are_told_apart(tmp_path: Path) -> None:
    for path, found in ((tmp_path / "none.json", "no such file"), (tmp_path, "a directory")):
        with pytest.raises(ConfigError) as caught:
            load_config(path, environ={})
        assert caught.value.issues[0].found == found


def test_references_are_checked_for_every_agent(tmp_path: Path) -> None:
    document = agents({"id": "a", "env": {"K": "env:HERE"}}, {"id": "b", "env": {"K": "env:GONE", "L": "file:gone"}})
    found = issues(tmp_path, document, {"HERE": "hush"})
    assert set(found) == {"agents[1].env.K", "agents[1].env.L"}
    assert "agent 'b'" in found["agents[1].env.K"].found
    assert found["agents[1].env.K"].allowed == "set GONE in the manager's environment"


def test_dummies_need_no_code_no_command_and_no_secrets(tmp_path: Path) -> None:
    path = write(tmp_path, agents({"id": "a", "env": {"K": "env:GONE"}}, {"id": "b", "port": 9, "command": ["x"]}))
    dummies = as_dummies(load_config(path, environ={}, check_references=False)).agents
    assert [(agent.entry_point, agent.command, agent.env) for agent in dummies] == [("dummy", None, {})] * 2
    assert dummies[1].port == 9
