"""Two configs apart: what differs, what may be shown of it, and what each change takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_service.contract import AgentSpec
from agent_service.issues import keys_of
from manager.settings import RuntimeSettings
from manager.specs.diff import LIVE_AGENT_KEYS, LIVE_RUNTIME_FIELDS, AgentChange, ConfigDiff, Effect, diff
from manager.specs.fleet_config import FleetConfig
from manager.specs.models import AgentConfig

PAGE = (Path(__file__).parents[4] / "docs" / "configuration.md").read_text(encoding="utf-8")


def fleet(*agents: dict[str, Any], **runtime: Any) -> FleetConfig:
    """As loaded from a file with these `agents` and this `runtime`."""
    models = tuple(AgentConfig.model_validate(agent) for agent in agents)
    return FleetConfig(RuntimeSettings.load(runtime, {}), models, Path("/p/agents.config.json"), Path("/p"))


def change_of(before: dict[str, Any], after: dict[str, Any]) -> AgentChange:
    (changed,) = diff(fleet({"id": "a", **before}), fleet({"id": "a", **after})).changed
    return changed


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {"name": "A"}, ("name", "a", "A", "live")),
        ({}, {"description": "d"}, ("description", "", "d", "live")),
        ({"metadata": {"a": 1}}, {"metadata": {"a": 1, "b": [2]}}, ("metadata.b", None, [2], "live")),
        ({"metadata": {"a": {"b": 1, "c": 2}}}, {"metadata": {"a": {"c": 2}}}, ("metadata.a.b", 1, None, "live")),
        ({"metadata": {"a": {}}}, {"metadata": {}}, ("metadata.a", {}, None, "live")),
        ({"metadata": {"a": 1}}, {"metadata": {"a": True}}, ("metadata.a", 1, True, "live")),
        ({"metadata": {"two words": 1}}, {"metadata": {"two words": 2}}, ('metadata["two words"]', 1, 2, "live")),
        ({}, {"autostart": False}, ("autostart", True, False, "live")),
        ({}, {"instances": 3}, ("instances", 1, 3, "live")),
        ({}, {"drainTimeoutSeconds": 5}, ("drainTimeoutSeconds", 30.0, 5.0, "live")),
        ({}, {"executeTimeoutSeconds": 5}, ("executeTimeoutSeconds", 300.0, 5.0, "live")),
        ({}, {"queueWhileRestartingSeconds": 5}, ("queueWhileRestartingSeconds", 10.0, 5.0, "live")),
        ({}, {"startTimeoutSeconds": 5}, ("startTimeoutSeconds", 60.0, 5.0, "live")),
        ({}, {"restart": {"maxCrashes": 9}}, ("restart.maxCrashes", 5, 9, "live")),
        ({}, {"restart": "never"}, ("restart.policy", "always", "never", "live")),
        ({}, {"entryPoint": "pkg:f"}, ("entryPoint", "dummy", "pkg:f", "restart")),
        ({"command": ["x"]}, {"command": ["x", "y"]}, ("command", ["x"], ["x", "y"], "restart")),
        ({}, {"port": 8100}, ("port", None, 8100, "restart")),
        ({"port": 8100}, {}, ("port", 8100, None, "restart")),
        ({}, {"defaultModel": "m"}, ("defaultModel", None, "m", "restart")),
        ({}, {"env": {"TEAM": "core"}}, ("env.TEAM", None, "core", "restart")),
        ({"env": {"K": "env:A"}}, {"env": {"K": "file:b"}}, ("env.K", "env:A", "file:b", "restart")),
        ({}, {"limits": {"memory_mb": 100}}, ("limits.memory_mb", None, 100, "live")),
        ({}, {"limits": {"open_files": 100}}, ("limits.open_files", None, 100, "restart")),
        ({"limits": {"cpu_seconds": 1}}, {}, ("limits.cpu_seconds", 1, None, "restart")),
        ({}, {"preload": "light"}, ("preload", "auto", "light", "restart")),
        ({}, {"maxConcurrency": 1}, ("maxConcurrency", 256, 1, "restart")),
        ({}, {"maxQueue": 1}, ("maxQueue", 1024, 1, "restart")),
        ({}, {"maxBodyBytes": 1}, ("maxBodyBytes", 10 * 1024**2, 1, "restart")),
        ({}, {"cancelOnDisconnect": False}, ("cancelOnDisconnect", True, False, "restart")),
    ],
)
def test_one_changed_value_is_told_with_its_effect(
    before: dict[str, Any], after: dict[str, Any], expected: tuple[str, Any, Any, str]
) -> None:
    changed = change_of(before, after)
    (change,) = changed.changes
    path, old, new, effect = expected
    # As JSON: 1 and true are equal in Python only.
    assert json.dumps([change.path, change.before, change.after]) == json.dumps([path, old, new])
    assert (change.effect, changed.effect) == (effect, effect)


def test_one_change_that_needs_a_restart_makes_it_the_agents_effect() -> None:
    changed = change_of({}, {"name": "A", "port": 8100, "autostart": False})
    assert [(change.path, change.effect.value) for change in changed.changes] == [
        ("name", "live"),
        ("port", "restart"),
        ("autostart", "live"),
    ]
    assert changed.effect is Effect.RESTART


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ({"API_KEY": "old-secret"}, {"API_KEY": "new-secret"}, ("***", "***")),
        ({"API_KEY": "old-secret"}, {}, ("***", None)),
        ({"API_KEY": "old-secret"}, {"API_KEY": "env:KEY"}, ("***", "env:KEY")),
        ({"DB": "http://u:old-secret@h/"}, {"DB": "http://u:new-secret@h/"}, ("http://***@h/", "http://***@h/")),
    ],
)
def test_a_replaced_secret_is_a_change_that_shows_no_secret(
    before: dict[str, str], after: dict[str, str], shown: tuple[str | None, str | None]
) -> None:
    changed = change_of({"env": before}, {"env": after})
    assert [(change.before, change.after) for change in changed.changes] == [shown]
    assert "secret" not in changed.model_dump_json()


def test_agents_come_and_go_by_id_in_the_order_of_the_file() -> None:
    changes = diff(fleet({"id": "a"}, {"id": "b"}), fleet({"id": "d"}, {"id": "b"}, {"id": "c"}))
    assert (changes.added, changes.removed, changes.changed, changes.reordered) == (("d", "c"), ("a",), (), False)


def test_another_order_of_those_that_stay_is_a_difference() -> None:
    changes = diff(fleet({"id": "a"}, {"id": "b"}), fleet({"id": "b"}, {"id": "a"}))
    assert changes.reordered and not changes.is_empty
    assert changes.summary() == "reordered"


@pytest.mark.parametrize(
    ("after", "running", "stopped"),
    [
        ({"description": "d"}, "counts at once", "counts at once"),
        ({"port": 8100}, "restarts", "counts at its next start"),
        ({"port": 8100, "description": "d"}, "restarts", "counts at its next start"),
    ],
)
def test_a_change_says_what_becomes_of_its_agent(after: dict[str, Any], running: str, stopped: str) -> None:
    configs = fleet({"id": "a"}), fleet({"id": "a", **after})
    assert [diff(*configs, stopped=ids).changed[0].consequence for ids in ((), ("a",))] == [running, stopped]


def test_runtime_reaches_the_agents_or_waits_for_a_restart_of_the_manager() -> None:
    changes = diff(fleet(), fleet(managerUrl="http://127.0.0.1:9", drainTimeoutSeconds=1, restart={"maxCrashes": 2}))
    assert {change.path: change.effect.value for change in changes.runtime} == {
        "managerUrl": "manager_restart",
        "drainTimeoutSeconds": "live",
        "restart.maxCrashes": "live",
    }
    assert changes.pending == ("managerUrl",)


def test_every_runtime_key_that_is_no_agents_default_waits_for_the_manager() -> None:
    own = set(RuntimeSettings.model_fields) - LIVE_RUNTIME_FIELDS
    other: dict[str, Any] = {
        "managerUrl": "http://127.0.0.1:9",
        "logDirectory": "l",
        "stateDirectory": "s",
        "heartbeatIntervalSeconds": 6,
        "heartbeatTtlSeconds": 31,
        "killGraceSeconds": 6,
        "lostRetentionSeconds": 6,
        "eventRetentionDays": 6,
        "eventRetentionCount": 6000,
        "maxOpenRequests": 6,
        "logMaxBytes": 2_000_000,
        "logMaxFiles": 6,
        "idempotencyRetentionSeconds": 6,
        "idempotencyMaxAnswerBytes": 6,
        "idempotencyMaxStoredBytes": 6,
        "allowedHosts": ["a"],
        "tracingEndpoint": "http://127.0.0.1:4318",
        "tracingSampleRate": 0.5,
        "tracingCaptureContent": True,
        "watchConfig": True,
    }
    assert {keys_of(RuntimeSettings)[key] for key in other} == own
    assert set(diff(fleet(), fleet(**other)).pending) == set(other)


def test_what_the_adapter_is_told_needs_a_restart_unless_the_manager_tells_it_again_or_shows_it_itself() -> None:
    told = {key for key, name in keys_of(AgentConfig).items() if name in AgentSpec.model_fields}
    assert told & LIVE_AGENT_KEYS == {"name", "description", "metadata", "drainTimeoutSeconds"}


def test_the_documentation_lists_exactly_the_live_keys() -> None:
    section = PAGE.partition("## Reload\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| `")]
    live = {key.strip(" `") for keys, effect in rows if effect.strip().startswith("Live") for key in keys.split(",")}
    assert live == LIVE_AGENT_KEYS | {"limits.memory_mb"}


def test_a_summary_is_one_short_line() -> None:
    many = [{"id": f"a{n}"} for n in range(8)]
    changes = diff(
        fleet({"id": "x"}, {"id": "y"}, {"id": "z"}),
        fleet({"id": "x", "name": "X"}, {"id": "y", "port": 9}, *many, logDirectory="l"),
    )
    assert changes.summary() == (
        "added a0, a1, a2, a3, a4 and 3 more; removed z; restarting y; changed without a restart x; "
        "waiting for a restart of the manager: logDirectory"
    )
    assert ConfigDiff().summary() == "no differences"


def test_a_summary_names_the_settings_that_count_without_a_restart() -> None:
    webhook = {"name": "on-call", "url": "https://example.org/", "secret": "env:SECRET"}
    changes = diff(fleet(), fleet(webhooks=[webhook], drainTimeoutSeconds=1, logDirectory="l"))
    assert changes.summary() == (
        "changed in runtime: drainTimeoutSeconds, webhooks; waiting for a restart of the manager: logDirectory"
    )


AGENTS = st.fixed_dictionaries(
    {"id": st.sampled_from("abcde")},
    optional={
        "name": st.sampled_from(["one", "two"]),
        "env": st.dictionaries(st.sampled_from(["K", "API_KEY"]), st.sampled_from(["one", "two", "env:X"])),
        "metadata": st.dictionaries(
            st.sampled_from("kl"),
            st.recursive(
                st.sampled_from([None, True, 1, 1.0, "", [], [1]]),
                lambda inner: st.dictionaries(st.sampled_from("mn"), inner, max_size=2),
                max_leaves=4,
            ),
        ),
        "port": st.sampled_from([8100, 8101]),
        "instances": st.integers(1, 3),
        "restart": st.sampled_from(["always", "never", {"maxCrashes": 2}]),
        "limits": st.sampled_from([{}, {"memory_mb": 100}]),
    },
)
FLEETS = st.builds(
    lambda agents, runtime: fleet(*agents, **runtime),
    st.lists(AGENTS, max_size=4, unique_by=lambda agent: agent["id"]),
    st.fixed_dictionaries({}, optional={"drainTimeoutSeconds": st.sampled_from([1, 2]), "logDirectory": st.just("l")}),
)


def as_text(config: FleetConfig) -> str:
    """Everything that is in it, secrets too."""
    agents = [agent.model_dump(mode="json") for agent in config.agents]
    return json.dumps([config.runtime.model_dump(mode="json"), agents], sort_keys=True)


@given(FLEETS)
def test_nothing_differs_from_itself(config: FleetConfig) -> None:
    assert diff(config, config) == ConfigDiff()
    assert diff(config, config).is_empty


@given(FLEETS, FLEETS)
def test_there_is_a_difference_exactly_where_something_is_another(old: FleetConfig, new: FleetConfig) -> None:
    assert diff(old, new).is_empty == (as_text(old) == as_text(new))


@given(FLEETS, FLEETS)
def test_the_way_back_is_the_way_there_reversed(old: FleetConfig, new: FleetConfig) -> None:
    there, back = diff(old, new), diff(new, old)
    assert (there.added, there.removed, there.reordered) == (back.removed, back.added, back.reordered)
    assert sorted(there.ids(Effect.RESTART)) == sorted(back.ids(Effect.RESTART))
    for change in there.changed:
        (reverse,) = [other for other in back.changed if other.id == change.id]
        forth = {c.path: json.dumps([c.before, c.after]) for c in change.changes}
        assert forth == {c.path: json.dumps([c.after, c.before]) for c in reverse.changes}


@given(FLEETS, FLEETS)
def test_the_wire_carries_all_of_it_there_and_back(old: FleetConfig, new: FleetConfig) -> None:
    changes = diff(old, new)
    assert ConfigDiff.model_validate(json.loads(json.dumps(changes.to_wire()))) == changes
    assert all(agent["effect"] in ("live", "restart") for agent in changes.to_wire()["changed"])
