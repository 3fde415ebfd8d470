from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import typer

from manager.cli.target import DEFAULT_URL, find_config, is_loopback, manager_url, require_config, shown
from manager.errors import ManagerError


def write_config(path: Path, url: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"runtime": {"managerUrl": url}, "agents": "not even a list"}))


def test_the_url_named_wins_over_environment_and_config(tmp_path: Path) -> None:
    write_config(tmp_path / "config/agents.config.json", "http://config:3")
    environ = {"AGENT_MANAGER_URL": "http://env:2"}
    assert manager_url("http://named:1/", environ, tmp_path) == "http://named:1"
    assert manager_url(None, environ, tmp_path) == "http://env:2"
    assert manager_url(None, {"AGENT_MANAGER_URL": ""}, tmp_path) == "http://config:3"


def test_the_environments_override_of_the_config_counts_as_the_config(tmp_path: Path) -> None:
    write_config(tmp_path / "agents.config.json", "http://config:3")
    environ = {"AGENT_MANAGER_MANAGER_URL": "http://override:4"}
    assert manager_url(None, environ, tmp_path) == "http://override:4"


def test_without_any_of_them_it_is_the_default(tmp_path: Path) -> None:
    assert manager_url(None, {}, tmp_path) == DEFAULT_URL


@pytest.mark.parametrize("content", ["{}", "[]", '{"runtime": 3}', '{"runtime": {}}'])
def test_a_config_without_url_means_the_default(tmp_path: Path, content: str) -> None:
    (tmp_path / "agents.config.json").write_text(content)
    assert manager_url(None, {}, tmp_path) == DEFAULT_URL


def test_a_config_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "agents.config.json").write_text("{")
    with pytest.raises(ManagerError, match=r"agents\.config\.json cannot be read.*--url"):
        manager_url(None, {}, tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "ftp://host",
        "http://",
        "",
        "http://host:port",
        "http://host:0",
        "http://a b",
        "http://[::1",
        "http://host?q=1",
    ],
)
def test_a_bad_url_is_wrong_usage_on_the_command_line_and_an_error_elsewhere(tmp_path: Path, url: str) -> None:
    with pytest.raises(typer.BadParameter):
        manager_url(url, {}, tmp_path)
    if url:
        with pytest.raises(ManagerError, match="AGENT_MANAGER_URL must look like"):
            manager_url(None, {"AGENT_MANAGER_URL": url}, tmp_path)


def test_a_url_in_the_config_that_is_no_text_is_named_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "agents.config.json").write_text('{"runtime": {"managerUrl": 8000}}')
    with pytest.raises(ManagerError, match=r"managerUrl in agents\.config\.json must look like"):
        manager_url(None, {}, tmp_path)


def test_the_config_directory_is_looked_into_first(tmp_path: Path) -> None:
    assert find_config(tmp_path) is None
    write_config(tmp_path / "agents.config.json", DEFAULT_URL)
    assert find_config(tmp_path) == tmp_path / "agents.config.json"
    write_config(tmp_path / "config/agents.config.json", DEFAULT_URL)
    assert find_config(tmp_path) == tmp_path / "config/agents.config.json"


def test_a_missing_config_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ManagerError, match="agent-manager init"):
        require_config(None, tmp_path)
    assert require_config(Path("other.json"), tmp_path) == tmp_path / "other.json"


def test_a_path_is_shown_as_seen_from_the_directory(tmp_path: Path) -> None:
    assert shown(tmp_path / "a" / "b", tmp_path) == str(Path("a/b"))
    assert shown(tmp_path, tmp_path / "a") == str(tmp_path)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False),
     ("::", False), ("10.0.0.1", False), ("example", False), ("localhost.example", False)],
)  # fmt: skip
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def hold(state_directory: Path, pid: int, url: str | None = "http://127.0.0.1:4") -> None:
    state_directory.mkdir(parents=True)
    (state_directory / "manager.json").write_text(json.dumps({"pid": pid, "url": url}))
    (state_directory / "manager.lock").touch()


@pytest.mark.parametrize(
    ("runtime", "override", "state_directory"),
    [
        ({}, {}, ".state"),
        ({"stateDirectory": "kept"}, {}, "kept"),
        ({"stateDirectory": "kept"}, {"AGENT_MANAGER_STATE_DIRECTORY": "var"}, "var"),
    ],
)
def test_a_manager_that_runs_here_is_found_wherever_it_listens(
    tmp_path: Path, runtime: dict[str, str], override: dict[str, str], state_directory: str
) -> None:
    config = tmp_path / "config/agents.config.json"
    config.parent.mkdir()
    config.write_text(json.dumps({"runtime": runtime | {"managerUrl": "http://config:3"}}))
    hold(tmp_path / state_directory, os.getpid())
    environ = {"AGENT_MANAGER_MANAGER_URL": "http://override:5"} | override
    with (tmp_path / state_directory / "manager.lock").open("rb"):
        assert manager_url(None, environ, tmp_path) == "http://127.0.0.1:4"
        assert manager_url(None, environ | {"AGENT_MANAGER_URL": "http://env:2"}, tmp_path) == "http://env:2"
    # Its lock is gone: a process with its pid is another one.
    assert manager_url(None, environ, tmp_path) == "http://override:5"
    assert manager_url(None, override, tmp_path) == "http://config:3"


def test_without_a_config_the_state_directory_is_the_usual_one(tmp_path: Path) -> None:
    hold(tmp_path / ".state", os.getpid())
    with (tmp_path / ".state/manager.lock").open("rb"):
        assert manager_url(None, {}, tmp_path) == "http://127.0.0.1:4"


@pytest.mark.parametrize(("pid", "url"), [(2**31 - 1, "http://127.0.0.1:4"), (-1, "http://127.0.0.1:4"), (None, None)])
def test_a_manager_that_is_gone_or_just_starting_is_not_found(tmp_path: Path, pid: int | None, url: str | None) -> None:
    hold(tmp_path / ".state", os.getpid() if pid is None else pid, url)
    with (tmp_path / ".state/manager.lock").open("rb"):
        assert manager_url(None, {}, tmp_path) == DEFAULT_URL


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"pid": "x", "url": "y"}', '{"pid": 1e400, "url": 3}'])
def test_a_holder_that_cannot_be_read_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / ".state").mkdir()
    (tmp_path / ".state/manager.json").write_text(content)
    assert manager_url(None, {}, tmp_path) == DEFAULT_URL
