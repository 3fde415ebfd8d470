from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest

import manager.cli
from manager.version import __version__

COMMANDS = (
    "up ps status start stop restart pause resume kill scale tracing execute logs events inspect doctor init "
    "reload down version config webhooks"
).split()


def test_help_lists_every_command(cli: Any) -> None:
    result = cli("--help")
    listed = [line.split()[0] for line in result.stdout.partition("Commands:")[2].splitlines() if line.strip()]
    assert (result.exit_code, listed) == (0, COMMANDS)


@pytest.mark.parametrize("command", [*COMMANDS, "config check", "config diff", "webhooks list", "webhooks test"])
def test_each_command_explains_itself_without_a_manager(cli: Any, command: str) -> None:
    result = cli(*command.split(), "--help")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert cli.manager.requests == []


@pytest.mark.parametrize("arguments", [["--version"], ["version"]])
def test_version(cli: Any, arguments: list[str]) -> None:
    result = cli(*arguments)
    assert (result.exit_code, result.stdout) == (0, f"agent-manager {__version__}\n")


@pytest.mark.parametrize(
    "arguments", [[], ["bogus"], ["ps", "--bogus"], ["status"], ["config"], ["execute", "planner"]]
)
def test_wrong_usage_is_exit_status_2(cli: Any, arguments: list[str]) -> None:
    assert cli(*arguments).exit_code == 2


@pytest.mark.parametrize("arguments", [["--url", "http://a:1", "ps"], ["ps", "--url", "http://a:1"]])
def test_the_manager_can_be_named_before_and_after_the_command(cli: Any, make: Any, arguments: list[str]) -> None:
    cli.environ["AGENT_MANAGER_URL"] = "http://b:2"
    cli.manager.on("GET /api/agent-services", make.listing())
    assert cli(*arguments).exit_code == 0
    assert str(cli.manager.requests[0].url) == "http://a:1/api/agent-services"


def test_a_url_that_is_none_is_wrong_usage(cli: Any) -> None:
    result = cli("ps", "--url", "localhost")
    assert (result.exit_code, "must look like http://" in result.stderr) == (2, True)


def test_the_token_is_the_environments(cli: Any, make: Any) -> None:
    cli.environ["MANAGER_TOKEN"] = "secret"
    cli.manager.on("GET /api/agent-services", make.listing())
    cli("ps")
    assert cli.manager.requests[0].headers["X-Manager-Token"] == "secret"


def test_the_command_line_starts_without_what_only_some_commands_need(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("manager.cli")]:
        monkeypatch.delitem(sys.modules, name)
    for heavy in ("httpx", "pydantic", "rich", "uvicorn", "starlette", "sqlalchemy", "psutil", "asyncio"):
        monkeypatch.setitem(sys.modules, heavy, None)
    # Importing sets it on the package; what the other tests know must be there again afterwards.
    monkeypatch.setattr(manager, "cli", manager.cli)
    importlib.import_module("manager.cli.main").build_app()
