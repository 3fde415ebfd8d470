from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent_service.contract import AdapterStatus
from agent_service.errors import ConfigError
from agent_service.launch import is_loopback, read_launch
from agent_service.tracing.settings import TracingSettings

MANAGED = {"AGENT_SPEC": json.dumps({"id": "planner", "name": "Planner", "entryPoint": "a.b:c", "maxQueue": 3})}


def test_alone_with_an_id_everything_else_has_a_default() -> None:
    launch = read_launch(["--id", "x"], {})
    assert (launch.spec.id, launch.spec.name, launch.spec.entry_point) == ("x", "x", "dummy")
    assert (launch.host, launch.port, launch.manager_url, launch.log_file) == ("127.0.0.1", 0, None, None)
    assert (launch.initial_status, launch.managed, launch.tokens) == (AdapterStatus.RUNNING, False, ())
    assert launch.instance_id.startswith("x-")


def test_every_option_arrives() -> None:
    argv = (
        "--id x --name X --description d --entry-point m:a --default-model gpt --host localhost --port 8100 "
        "--manager-url http://127.0.0.1:8000/ --log-file x.log --drain-timeout-seconds 1.5 --max-concurrency 2 "
        "--max-queue 0"
    ).split()
    launch = read_launch([*argv, "--metadata", '{"team": "core"}'], {})
    assert launch.spec.model_dump() == {
        "id": "x",
        "name": "X",
        "description": "d",
        "entryPoint": "m:a",
        "defaultModel": "gpt",
        "metadata": {"team": "core"},
        "drainTimeoutSeconds": 1.5,
        "maxConcurrency": 2,
        "maxQueue": 0,
        "maxBodyBytes": 10 * 1024 * 1024,
        "cancelOnDisconnect": True,
        "definition": None,
        "stateDirectory": None,
    }
    assert (launch.host, launch.port) == ("localhost", 8100)
    assert (launch.manager_url, launch.log_file) == ("http://127.0.0.1:8000", Path("x.log"))


def test_a_managed_start_reads_the_environment() -> None:
    launch = read_launch(
        [],
        {
            **MANAGED,
            "AGENT_INSTANCE_ID": "planner.7",
            "AGENT_HOST": "127.0.0.1",
            "AGENT_PORT": "8100",
            "AGENT_LISTEN_FD": "7",
            "AGENT_MANAGER_URL": "http://127.0.0.1:8000",
            "AGENT_LOG_FILE": "logs/planner.log",
            "AGENT_INITIAL_STATUS": "paused",
            "MANAGER_TOKEN": "s3cret",
            "MANAGER_TOKEN_PREVIOUS": "older",
        },
    )
    assert launch.managed
    assert (launch.spec.name, launch.spec.entry_point, launch.spec.max_queue) == ("Planner", "a.b:c", 3)
    assert (launch.instance_id, launch.port, launch.log_file) == ("planner.7", 8100, Path("logs/planner.log"))
    assert launch.initial_status is AdapterStatus.PAUSED
    assert launch.listen_fd == 7
    assert launch.tokens == ("s3cret", "older")
    assert "s3cret" not in repr(launch) and "older" not in repr(launch)


MODEL = {"provider": "ollama", "model": "m"}


def test_a_definition_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "agent.json").write_text(json.dumps({"behavior": {"model_parameters": MODEL}}))
    argv = ["--id", "x", "--entry-point", "react", "--definition", str(tmp_path / "agent.json")]
    launch = read_launch(argv, {"AGENT_STATE_DIRECTORY": "kept"})
    assert launch.spec.definition is not None
    assert launch.spec.definition.behavior.model_parameters.model == "m"
    assert launch.spec.state_directory == "kept"


def test_a_spec_too_large_for_a_variable_comes_in_a_file(tmp_path: Path) -> None:
    definition = {"behavior": {"system_prompt": "x" * 200_000, "model_parameters": MODEL}}
    (tmp_path / "spec.json").write_text(json.dumps({"id": "x", "entryPoint": "react", "definition": definition}))
    launch = read_launch([], {"AGENT_SPEC_FILE": str(tmp_path / "spec.json")})
    assert launch.managed
    assert launch.spec.definition is not None
    assert len(launch.spec.definition.behavior.system_prompt) == 200_000


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"AGENT_SPEC_FILE is the file 'missing\.json', which cannot be read"):
        read_launch([], {"AGENT_SPEC_FILE": "missing.json"})


def test_what_is_wrong_in_a_definition_is_named_and_never_quoted() -> None:
    definition = {"behavior": {"model_parameters": {**MODEL, "api_key": "sk-secret"}}}
    with pytest.raises(ConfigError, match=r"definition\.behavior\.model_parameters\.api_key") as caught:
        read_launch([], {"AGENT_SPEC": json.dumps({"id": "x", "definition": definition})})
    assert "sk-secret" not in str(caught.value)


def test_traces_that_cannot_be_are_no_reason_not_to_serve() -> None:
    environ = {**MANAGED, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
    launch = read_launch([], environ)
    assert (launch.tracing, launch.tracing_trouble) == (TracingSettings(url="http://collector:4318/v1/traces"), "")
    launch = read_launch([], {**environ, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    assert launch.tracing is None
    assert "http/protobuf" in launch.tracing_trouble


def test_argv_wins_over_the_environment() -> None:
    environ = {**MANAGED, "AGENT_PORT": "8100", "AGENT_MANAGER_URL": "http://127.0.0.1:8000"}
    launch = read_launch(["--name", "Other", "--port", "9", "--manager-url", "http://localhost:1"], environ)
    assert (launch.spec.id, launch.spec.name, launch.port) == ("planner", "Other", 9)
    assert launch.manager_url == "http://localhost:1"


def test_an_id_in_the_environment_is_enough() -> None:
    assert read_launch([], {"AGENT_ID": "x"}).spec.id == "x"


def test_a_previous_token_alone_switches_nothing_on() -> None:
    assert read_launch(["--id", "x"], {"MANAGER_TOKEN_PREVIOUS": "older"}).tokens == ()


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ([], "--id is required"),
        (["--id", "Not Valid"], 'id: found "Not Valid"; 1 to 63 lower-case letters'),
        (["--id", "x", "--port", "65536"], "The port '65536' is not a whole number from 0 to 65535"),
        (["--id", "x", "--port", "http"], "The port 'http' is not a whole number"),
        (["--id", "x", "--metadata", "{"], "not valid JSON"),
        (["--id", "x", "--metadata", "[]"], "not a JSON object"),
        (["--id", "x", "--definition", "missing.json"], "which cannot be read"),
        (
            ["--id", "x", "--max-concurrency", "0"],
            "maxConcurrency: found 0; it should be greater than or equal to 1",
        ),
        (["--id", "x", "--drain-timeout-seconds", "-1"], "drainTimeoutSeconds: found -1.0; it should be"),
        (["--id", "x", "--manager-url", "localhost:8000"], "The manager's URL 'localhost:8000' is wrong"),
        (["--id", "x", "--unknown"], "unrecognized arguments: --unknown"),
        (["--id", "x", "--entry", "m:a"], "unrecognized arguments: --entry m:a"),
    ],
)
def test_wrong_usage_exits_with_2_and_a_sentence(
    argv: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        read_launch(argv, {})
    assert left.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"AGENT_SPEC": "{"}, "AGENT_SPEC is not valid JSON"),
        ({"AGENT_SPEC": "[]"}, "AGENT_SPEC is not a JSON object"),
        (
            {"AGENT_SPEC": '{"id": "x", "name": "x", "maxQeue": 1}'},
            "maxQeue: found an unknown key; did you mean 'maxQueue'?",
        ),
        ({"AGENT_SPEC": '{"id": "X"}'}, 'id: found "X"; 1 to 63 lower-case letters'),
        ({**MANAGED, "AGENT_PORT": "-1"}, "The port '-1'"),
        ({**MANAGED, "AGENT_PORT": "¹"}, "The port"),
        ({**MANAGED, "AGENT_MANAGER_URL": "nope"}, "The manager's URL 'nope' is wrong"),
        (
            {**MANAGED, "AGENT_INITIAL_STATUS": "stopped"},
            "AGENT_INITIAL_STATUS is 'stopped'; set it to running",
        ),
        ({**MANAGED, "AGENT_INSTANCE_ID": "a b"}, "AGENT_INSTANCE_ID 'a b' is wrong"),
        ({**MANAGED, "AGENT_LISTEN_FD": "2"}, "AGENT_LISTEN_FD is '2'; set it to an inherited descriptor"),
        ({**MANAGED, "AGENT_LISTEN_FD": "x"}, "AGENT_LISTEN_FD is 'x'"),
        ({**MANAGED, "AGENT_HOST": "0.0.0.0"}, "Refusing to bind 0.0.0.0 without a token"),
    ],
)
def test_a_wrong_environment_is_a_config_error(environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_launch([], environ)
    assert sentence in str(error.value)


def test_with_a_token_another_address_may_be_bound() -> None:
    assert read_launch(["--id", "x", "--host", "0.0.0.0"], {"MANAGER_TOKEN": "t"}).host == "0.0.0.0"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("LOCALHOST", True), ("0.0.0.0", False), ("a.b", False)],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_a_secret_in_the_environment_is_not_in_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    environ: dict[str, Any] = {"MANAGER_TOKEN": "s3cret", "AGENT_SPEC": "{"}
    with pytest.raises(ConfigError) as error:
        read_launch([], environ)
    assert "s3cret" not in str(error.value)
