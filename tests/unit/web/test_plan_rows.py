from __future__ import annotations

from pathlib import Path
from typing import Any

from manager.errors import ConfigIssue
from manager.settings import RuntimeSettings
from manager.specs.diff import diff
from manager.specs.fleet_config import FleetConfig
from manager.specs.models import AgentConfig
from web.plan_rows import Plan, outcome_of_reload, plan_of, refused_plan
from web.tones import Tone

PATH = Path("/project/agents.config.json")


def config(*agents: dict[str, Any], **runtime: Any) -> FleetConfig:
    found = tuple(AgentConfig.model_validate(agent) for agent in agents)
    return FleetConfig(RuntimeSettings(**runtime), found, PATH, PATH.parent)


def model(name: str) -> dict[str, Any]:
    """An agent from data."""
    parameters = {"provider": "openai", "model": name, "api_key": "env:KEY"}
    return {"entryPoint": "react", "definition": {"behavior": {"model_parameters": parameters}}}


def plan(old: FleetConfig, new: FleetConfig) -> Plan:
    return plan_of(diff(old, new))


def test_each_agent_is_told_with_what_becomes_of_it() -> None:
    old = config({"id": "gone"}, {"id": "live"}, {"id": "again"})
    new = config({"id": "live", "description": "new"}, {"id": "again", "port": 8100}, {"id": "late"})
    steps = plan(old, new).steps
    assert [(step.sign, step.agent_id) for step in steps] == [
        ("removed", "gone"),
        ("changed", "live"),
        ("changed", "again"),
        ("added", "late"),
    ]
    assert "its processes go on" in steps[1].consequence and "restarts" in steps[2].consequence
    assert [step.tone for step in steps] == [Tone.BAD, Tone.GOOD, Tone.BUSY, Tone.GOOD]


def test_a_change_shows_before_and_after_and_says_where_it_counts_differently() -> None:
    old, new = config({"id": "a"}), config({"id": "a", "description": "new", "port": 8100})
    rows = {row.path: row for row in plan(old, new).steps[0].changes}
    assert (rows["port"].before.text, rows["port"].after.text, rows["port"].effect) == ("none", "8100", None)
    assert rows["description"].effect == "at once"


def test_of_a_stopped_agent_nothing_restarts() -> None:
    old = config({"id": "a", **model("one")}, {"id": "b"})
    changed = {"id": "a", "description": "new", "port": 8100, **model("other")}
    new = config(changed, {"id": "b", "description": "new"})
    told = diff(old, new, stopped=("a", "b"))
    waiting, live = plan_of(told).steps
    assert [step.consequence for step in (waiting, live)] == [change.consequence for change in told.changed]
    assert waiting.consequence == "counts at its next start" and waiting.tone is Tone.IDLE
    assert {row.path: row.effect for row in waiting.changes if row.effect} == {"description": "at once"}
    assert live.consequence == "counts at once" and plan_of(told).can_reload


def test_what_waits_for_the_manager_is_a_step_of_its_own() -> None:
    steps = plan(config(), config(heartbeat_ttl_seconds=60)).steps
    assert [step.title for step in steps] == ["The fleet's runtime"]
    assert steps[0].tone is Tone.WARN and "manager itself is started anew" in steps[0].consequence


def test_what_only_a_restart_of_the_manager_changes_is_nothing_to_reload() -> None:
    left = plan(config(), config(heartbeat_ttl_seconds=60))
    assert left.steps and not left.can_reload and left.waiting == ("heartbeatTtlSeconds",)
    both = plan(config(), config({"id": "late"}, heartbeat_ttl_seconds=60))
    assert both.can_reload and both.waiting == ("heartbeatTtlSeconds",)


def test_a_reload_that_was_taken_says_what_waits() -> None:
    def told(old: FleetConfig, new: FleetConfig) -> str | None:
        outcome = outcome_of_reload(plan(old, new))
        return None if outcome is None else outcome.detail

    assert told(config(), config()) == "The file is in force."
    waiting = told(config(), config(heartbeat_ttl_seconds=60))
    assert waiting == "heartbeatTtlSeconds waits for a restart of the manager."
    assert told(config(), config({"id": "new"})) is None
    assert outcome_of_reload(refused_plan([ConfigIssue("agents", "1", "an array")])) is None


def test_another_order_restarts_nothing() -> None:
    steps = plan(config({"id": "a"}, {"id": "b"}), config({"id": "b"}, {"id": "a"})).steps
    assert [(step.sign, step.consequence) for step in steps] == [("moved", "nothing restarts")]


def test_no_difference_is_no_plan() -> None:
    same = plan(config({"id": "a"}), config({"id": "a"}))
    assert not same.can_reload and same.summary == "no differences"


def test_a_plan_is_told_from_another_by_its_fingerprint() -> None:
    old = config({"id": "a"})
    first, second = plan(old, config({"id": "a", "port": 1})), plan(old, config({"id": "a", "port": 2}))
    assert first.fingerprint != second.fingerprint
    assert first.fingerprint == plan(old, config({"id": "a", "port": 1})).fingerprint


def test_a_file_that_is_wrong_has_no_plan_but_its_mistakes() -> None:
    refused = refused_plan([ConfigIssue("agents[0].port", "99999", "use 1 to 65535")])
    assert not refused.can_reload and refused.summary == "1 mistake" and refused.issues[0].path == "agents[0].port"
