from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from manager.errors import StateDirectoryBusy

CONFIG = {
    "runtime": {"managerUrl": "http://127.0.0.1:8123"},
    "agents": [{"id": "planner", "entryPoint": "some.where:graph", "env": {"KEY": "env:A_KEY"}}],
}


@pytest.fixture
def started(cli: Any, monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """A config is there; each start of the manager is noted instead of done, and ends with status 3."""
    write_config(cli.directory / "config/agents.config.json", CONFIG)
    starts: list[SimpleNamespace] = []

    def run_manager(config: Any, secrets: Any, *, host: str, port: int, console: Any, **_: Any) -> int:
        starts.append(SimpleNamespace(config=config, secrets=secrets, host=host, port=port, console=console))
        return 3

    serve_with(monkeypatch, run_manager)
    cli.environ["A_KEY"] = "hush"
    return starts


def serve_with(monkeypatch: pytest.MonkeyPatch, run_manager: Callable[..., int]) -> None:
    # The module and not its function: the real one brings the whole manager along.
    monkeypatch.setitem(sys.modules, "manager.server", SimpleNamespace(run_manager=run_manager))


def write_config(path: Path, config: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(config))


def test_the_manager_gets_config_tokens_and_address_and_gives_the_exit_status(
    cli: Any, started: list[SimpleNamespace]
) -> None:
    cli.environ["MANAGER_TOKEN"] = "secret"
    assert cli("up").exit_code == 3
    [start] = started
    assert [agent.entry_point for agent in start.config.agents] == ["some.where:graph"]
    assert (start.host, start.port, start.secrets.tokens()) == ("127.0.0.1", 8123, ("secret",))


def test_options_win_over_the_config(cli: Any, started: list[SimpleNamespace]) -> None:
    write_config(cli.directory / "other.json", {"agents": [{"id": "other"}]})
    cli("up", "--config", "other.json", "--host", "::1", "--port", "0")
    [start] = started
    assert [agent.id for agent in start.config.agents] == ["other"]
    assert (start.host, start.port) == ("::1", 0)


@pytest.mark.parametrize(
    ("url", "host"),
    [("http://[::1]:1", "::1"), ("http://localhost:1", "127.0.0.1"), ("http://10.0.0.1:1", "127.0.0.1")],
)
def test_the_address_is_always_this_machines_own_unless_named(
    cli: Any, started: list[SimpleNamespace], url: str, host: str
) -> None:
    write_config(cli.directory / "config/agents.config.json", {"runtime": {"managerUrl": url}})
    cli("up")
    assert started[0].host == host


def test_dummies_need_neither_code_nor_secrets(cli: Any, started: list[SimpleNamespace]) -> None:
    cli.environ.clear()
    assert cli("up", "--dummy").exit_code == 3
    assert [agent.entry_point for agent in started[0].config.agents] == ["dummy"]


def test_a_bad_config_lists_everything_and_starts_nothing(cli: Any, started: list[SimpleNamespace]) -> None:
    write_config(cli.directory / "config/agents.config.json", {"agents": [{"id": "UPPER", "port": 0}]})
    result = cli("up")
    assert (result.exit_code, result.stdout, started) == (1, "", [])
    assert "agents[0].id: found" in result.stderr
    assert "agents[0].port: found" in result.stderr


def test_no_config_names_the_remedy(cli: Any) -> None:
    result = cli("up")
    assert result.exit_code == 1
    assert "agent-manager init" in result.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org"])
def test_an_open_address_without_a_token_is_refused(cli: Any, started: list[SimpleNamespace], host: str) -> None:
    result = cli("up", "--host", host)
    assert (result.exit_code, started) == (2, [])
    assert "set MANAGER_TOKEN" in result.stderr
    cli.environ["MANAGER_TOKEN"] = "secret"
    assert cli("up", "--host", host).exit_code == 3


def test_a_token_that_cannot_be_one_is_refused_unseen(cli: Any, started: list[SimpleNamespace]) -> None:
    cli.environ["MANAGER_TOKEN"] = "two words"
    result = cli("up")
    assert (result.exit_code, started) == (1, [])
    assert "MANAGER_TOKEN" in result.stderr
    assert "two words" not in result.stderr


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_an_impossible_port_is_wrong_usage(cli: Any, started: list[SimpleNamespace], port: str) -> None:
    assert (cli("up", "--port", port).exit_code, started) == (2, [])


def test_what_the_manager_cannot_do_is_one_sentence(
    cli: Any, started: list[SimpleNamespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: Any, **__: Any) -> int:
        raise StateDirectoryBusy("Another manager (pid 7) is there.")

    serve_with(monkeypatch, busy)
    result = cli("up")
    assert (result.exit_code, result.stderr) == (1, "Another manager (pid 7) is there.\n")


@pytest.mark.parametrize(("on_path", "ps"), [(True, "agent-manager ps"), (False, "tools/agent-manager ps")])
def test_the_commands_it_suggests_are_called_as_this_one_was(
    cli: Any,
    monkeypatch: pytest.MonkeyPatch,
    started: list[SimpleNamespace],
    tmp_path: Path,
    on_path: bool,
    ps: str,
) -> None:
    def run_manager(*_: Any, host: str, port: int, console: Any, **__: Any) -> int:
        console.ready(f"http://{host}:{port}", 0, 0)
        return 0

    serve_with(monkeypatch, run_manager)
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/agent-manager" if on_path else None)
    monkeypatch.setattr("sys.argv", [str(tmp_path / "tools" / "agent-manager")])
    assert ps in [line.strip() for line in cli("up").stdout.splitlines()]
