"""Settings: defaults, the environment over the file, bounds, tokens."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from manager.errors import ConfigError
from manager.settings import RestartSettings, RuntimeSettings, env_name, overlay, read_secrets


def test_defaults_are_those_of_the_contract() -> None:
    runtime = RuntimeSettings.load({}, {})
    assert runtime.manager_url == "http://127.0.0.1:8000"
    assert (runtime.log_directory, runtime.state_directory) == ("logs", ".state")
    assert (runtime.heartbeat_interval_seconds, runtime.heartbeat_ttl_seconds) == (5, 30)
    assert (runtime.drain_timeout_seconds, runtime.execute_timeout_seconds) == (30, 300)
    assert runtime.restart == RestartSettings(policy="always", max_crashes=5, do_not_retry_exit_codes=(78,))


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        setattr(RuntimeSettings(), "drain_timeout_seconds", 1)  # noqa: B010


def test_the_process_environment_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_MANAGER_DRAIN_TIMEOUT_SECONDS", "99")
    monkeypatch.setenv("RESTART", "never")
    assert RuntimeSettings.load({}, {}) == RuntimeSettings()
    assert RuntimeSettings().drain_timeout_seconds == 30


@pytest.mark.parametrize(
    ("variable", "text", "field", "expected"),
    [
        ("AGENT_MANAGER_DRAIN_TIMEOUT_SECONDS", "7.5", "drain_timeout_seconds", 7.5),
        ("AGENT_MANAGER_MANAGER_URL", "http://10.0.0.1:9000/", "manager_url", "http://10.0.0.1:9000"),
        ("AGENT_MANAGER_MAX_QUEUE", "0", "max_queue", 0),
        ("AGENT_MANAGER_CANCEL_ON_DISCONNECT", "false", "cancel_on_disconnect", False),
        ("AGENT_MANAGER_ALLOWED_HOSTS", "a.example, B.example,", "allowed_hosts", ("a.example", "b.example")),
        ("AGENT_MANAGER_ALLOWED_HOSTS", "[::1]", "allowed_hosts", ("[::1]",)),
        ("AGENT_MANAGER_LOG_DIRECTORY", "5", "log_directory", "5"),
        ("AGENT_MANAGER_RESTART", "never", "restart", RestartSettings(policy="never")),
    ],
)
def test_a_variable_overrides_the_file(variable: str, text: str, field: str, expected: object) -> None:
    in_file = {"drainTimeoutSeconds": 3, "maxQueue": 5, "logDirectory": "elsewhere", "cancelOnDisconnect": True}
    assert getattr(RuntimeSettings.load(in_file, {variable: text}), field) == expected


def test_every_setting_has_a_variable() -> None:
    for name in RuntimeSettings.model_fields:
        with pytest.raises(ValidationError):
            RuntimeSettings.load({}, {env_name(name): "~ no * such : value"})


def test_an_empty_or_foreign_variable_changes_nothing() -> None:
    environ = {"AGENT_MANAGER_MAX_QUEUE": "", "AGENT_MANAGER_PORT": "tcp://10.0.0.1:80", "AGENT_MANAGER_URL": "x"}
    assert RuntimeSettings.load({}, environ) == RuntimeSettings()


def test_restart_is_overlaid_key_by_key() -> None:
    lower = {"maxQueue": 1, "restart": {"policy": "always", "maxCrashes": 9}}
    assert overlay(lower, {"restart": "never"})["restart"] == {"policy": "never", "maxCrashes": 9}
    assert overlay(lower, {"restart": {"maxCrashes": 2}})["restart"] == {"policy": "always", "maxCrashes": 2}
    assert overlay(lower, {"restart": None})["restart"] is None
    assert overlay(lower, {}) == lower


@pytest.mark.parametrize(
    "values",
    [
        {"drainTimeoutSeconds": "30"},
        {"drainTimeoutSeconds": -1},
        {"drainTimeoutSeconds": float("nan")},
        {"executeTimeoutSeconds": float("inf")},
        {"executeTimeoutSeconds": 0},
        {"maxConcurrency": 0},
        {"maxQueue": True},
        {"cancelOnDisconnect": 1},
        {"heartbeatIntervalSeconds": 30},
        {"heartbeatIntervalSeconds": 5, "heartbeatTtlSeconds": 5},
        {"eventRetentionDays": 1.5},
        {"managerUrl": "https://127.0.0.1:8000"},
        {"managerUrl": "http://127.0.0.1:8000/api"},
        {"managerUrl": "http://user:word@127.0.0.1"},
        {"managerUrl": "http://127.0.0.1:70000"},
        {"managerUrl": "http://127.0.0.1:0"},
        {"managerUrl": "http://"},
        {"managerUrl": "http://[::1"},
        {"logDirectory": ""},
        {"stateDirectory": "~/state"},
        {"allowedHosts": ["*"]},
        {"allowedHosts": ["http://a.example"]},
        {"allowedHosts": "a.example"},
        {"restart": "sometimes"},
        {"restart": {"initialDelaySeconds": 61}},
        {"restart": {"doNotRetryExitCodes": [256]}},
        {"restart": {"unknown": 1}},
        {"unknown": 1},
    ],
)
def test_impossible_values_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RuntimeSettings.load(values, {})


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1", 8000),
        ("http://[::1]:9", "::1", 9),
        ("http://host.example", "host.example", 80),
    ],
)
def test_the_manager_url_tells_host_and_port(url: str, host: str, port: int) -> None:
    runtime = RuntimeSettings.load({"managerUrl": url}, {})
    assert (runtime.manager_host, runtime.manager_port) == (host, port)


def test_tokens_are_off_without_variables_and_with_empty_ones() -> None:
    assert read_secrets({}).tokens() == ()
    assert read_secrets({"MANAGER_TOKEN": "", "MANAGER_TOKEN_PREVIOUS": ""}).tokens() == ()


def test_both_tokens_are_accepted_the_current_one_first() -> None:
    assert read_secrets({"MANAGER_TOKEN": "new", "MANAGER_TOKEN_PREVIOUS": "old"}).tokens() == ("new", "old")


def test_tokens_do_not_show() -> None:
    assert "hush" not in repr(read_secrets({"MANAGER_TOKEN": "hush"}))


@pytest.mark.parametrize(
    ("environ", "variable"),
    [
        ({"MANAGER_TOKEN": "two words"}, "MANAGER_TOKEN"),
        ({"MANAGER_TOKEN": "newline\n"}, "MANAGER_TOKEN"),
        ({"MANAGER_TOKEN": "gültig"}, "MANAGER_TOKEN"),
        ({"MANAGER_TOKEN": "good", "MANAGER_TOKEN_PREVIOUS": " "}, "MANAGER_TOKEN_PREVIOUS"),
        ({"MANAGER_TOKEN_PREVIOUS": "old"}, "MANAGER_TOKEN_PREVIOUS"),
    ],
)
def test_unusable_tokens_are_refused_without_showing_them(environ: dict[str, str], variable: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_secrets(environ)
    assert [issue.path for issue in caught.value.issues] == [variable]
    assert not any(value.strip() and value in str(caught.value) for value in environ.values())
