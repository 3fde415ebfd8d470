from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from agent_service import contract
from manager.errors import ConfigError
from manager.settings import Secrets
from manager.supervision import launching
from manager.supervision.launching import Launcher
from manager.supervision.process import Launch
from tests.unit.manager.fakes.world import agent


def launch(
    *,
    environ: Mapping[str, str] | None = None,
    tokens: Secrets | None = None,
    paused: bool = False,
    shares_ports: bool = False,
    **changes: Any,
) -> Launch:
    launcher = Launcher(
        environ if environ is not None else {"PATH": "/bin"},
        "http://127.0.0.1:8000",
        tokens or Secrets(),
        Path("project"),
        lambda agent_id: Path(f"logs/{agent_id}.log"),
        shares_ports,
    )
    return launcher.launch(agent(**changes), paused=paused)


def test_an_agent_without_a_command_is_run_by_our_adapter_with_this_python() -> None:
    assert launch().argv == (sys.executable, "-m", "agent_service")


def test_a_command_is_run_as_it_is() -> None:
    assert launch(command=["node", "agent.js", "--fast"], port=8100).argv == ("node", "agent.js", "--fast")


def test_where_traces_have_an_endpoint_each_agent_goes_by_its_own_name_unless_it_says_otherwise() -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SERVICE_NAME": "the manager"}
    assert launch(environ=environ).environment["OTEL_SERVICE_NAME"] == "echo"
    own = launch(environ=environ, env={"OTEL_SERVICE_NAME": "mine"}).environment
    assert (own["OTEL_SERVICE_NAME"], own["OTEL_EXPORTER_OTLP_ENDPOINT"]) == ("mine", "http://collector:4318")
    assert "OTEL_SERVICE_NAME" not in launch().environment


def test_each_launch_is_an_instance_of_its_own() -> None:
    first, second = launch(), launch()
    assert first.instance_id != second.instance_id
    assert first.environment["AGENT_INSTANCE_ID"] == first.instance_id


def test_a_process_is_told_who_it_is_where_it_listens_and_to_whom_it_reports() -> None:
    told = launch(port=8100, max_concurrency=3)
    assert told.agent_id == "echo"
    assert told.directory == Path("project")
    assert told.log_file == Path("logs/echo.log")
    environment = told.environment
    assert environment["AGENT_ID"] == "echo"
    assert environment["AGENT_HOST"] == "127.0.0.1"
    assert environment["AGENT_PORT"] == "8100"
    assert environment["AGENT_MANAGER_URL"] == "http://127.0.0.1:8000"
    assert environment["AGENT_LOG_FILE"] == str(Path("logs/echo.log"))
    spec = json.loads(environment["AGENT_SPEC"])
    assert (spec["id"], spec["entryPoint"], spec["maxConcurrency"]) == ("echo", "dummy", 3)


@pytest.mark.parametrize(("paused", "status"), [(False, "running"), (True, "paused")])
def test_a_process_is_told_whether_it_begins_paused(paused: bool, status: str) -> None:
    assert launch(paused=paused).environment["AGENT_INITIAL_STATUS"] == status


def test_our_adapter_picks_its_own_port_a_foreign_program_is_told_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "free_port", lambda host: 34567 if host == "127.0.0.1" else 0)
    assert launch().environment["AGENT_PORT"] == "0"
    assert launch(command=["node"]).environment["AGENT_PORT"] == "34567"
    assert launch(command=["node"], port=8100).environment["AGENT_PORT"] == "8100"


def test_the_agent_s_own_environment_goes_over_the_inherited_and_what_the_manager_says_over_both() -> None:
    environment = launch(
        environ={"PATH": "/bin", "LEVEL": "theirs", "AGENT_ID": "left over", "KEY": "k-1"},
        env={"LEVEL": "mine", "TEAM_KEY": "env:KEY"},
    ).environment
    assert environment["PATH"] == "/bin"
    assert environment["LEVEL"] == "mine"
    assert environment["TEAM_KEY"] == "k-1"
    assert environment["AGENT_ID"] == "echo"


def test_tokens_are_told_where_there_are_some() -> None:
    assert "MANAGER_TOKEN" not in launch(environ={}).environment
    tokens = Secrets(SecretStr("new"), SecretStr("old"))
    environment = launch(tokens=tokens).environment
    assert (environment["MANAGER_TOKEN"], environment["MANAGER_TOKEN_PREVIOUS"]) == ("new", "old")
    assert "MANAGER_TOKEN_PREVIOUS" not in launch(tokens=Secrets(SecretStr("new"))).environment


def test_a_reference_that_leads_nowhere_names_the_agent_and_the_key_and_shows_no_value() -> None:
    with pytest.raises(ConfigError) as error:
        launch(environ={"OTHER": "s3cret"}, env={"TEAM_KEY": "env:MISSING", "FINE": "env:OTHER"})
    assert "echo" in error.value.detail
    assert "TEAM_KEY" in error.value.detail
    assert "MISSING" in error.value.detail
    assert "s3cret" not in error.value.detail


def test_an_agents_port_is_shared_by_its_instances_where_the_spawner_can() -> None:
    shared = launch(port=8100, shares_ports=True)
    assert (shared.public_port, shared.environment[contract.ENV_PORT]) == (8100, "0")
    alone = launch(port=8100)
    assert (alone.public_port, alone.environment[contract.ENV_PORT]) == (None, "8100")
    foreign = launch(port=8100, shares_ports=True, command=("/bin/true",), entry_point=None)
    assert (foreign.public_port, foreign.environment[contract.ENV_PORT]) == (None, "8100")
