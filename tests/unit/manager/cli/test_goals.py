from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from manager.cli.goals import GRACE_SECONDS, Goal, draining, progress, why
from manager.supervision.states import AgentAction

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
STOPPED = {"state": "stopped", "desired_state": "stopped", "ready": False, "pid": None, "instance_id": None}
FAILED = {"state": "failed", "state_reason": "crash loop", "ready": False, "pid": None, "instance_id": None}
SUCCESSOR = {"instance_id": "two", "pid": 456}


def verdict(
    make: Any, action: str, before: Any, accepted: Any, now: Any, waited: float = 0.0
) -> tuple[bool, str] | None:
    goal = Goal(AgentAction(action), make.view(**before), make.view(**accepted))
    outcome = goal.judge(None if now is None else make.view(**now), waited)
    return (outcome.reached, outcome.sentence) if outcome else None


STOPPING = {"state": "stopping", "desired_state": "stopped", "ready": False}
PAUSED = {"state": "paused", "desired_state": "paused", "ready": False}
STARTING = {"state": "starting", "ready": False}


@pytest.mark.parametrize(
    ("action", "before", "accepted", "now", "sentence"),
    [
        ("start", STOPPED, STARTING, {}, "planner running (pid 123)"),
        ("start", {}, {}, {}, "planner running (pid 123)"),
        ("resume", PAUSED, {}, {}, "planner running (pid 123)"),
        ("pause", {}, PAUSED, PAUSED, "planner paused"),
        ("stop", {}, STOPPING, STOPPED, "planner stopped"),
        ("stop", STOPPED, STOPPED, STOPPED, "planner stopped"),
        ("stop", {"managed": False}, STOPPING, None, "planner is gone"),
        ("stop", {}, STOPPING, {"state": "lost", "desired_state": "stopped"}, "planner is gone"),
        ("kill", {}, STOPPING, STOPPED, "planner killed"),
        ("kill", {}, {}, {"state": "backoff", "pid": None}, "planner killed"),
        ("kill", {}, {}, SUCCESSOR, "planner killed"),
        ("restart", {}, STOPPING | {"desired_state": "running"}, SUCCESSOR, "planner restarted (pid 123 → 456)"),
        ("restart", PAUSED, PAUSED, PAUSED | SUCCESSOR, "planner restarted (pid 123 → 456)"),
        (
            "restart",
            {"instances": []},
            {},
            {"instances": [], "started_at": "2026-01-02T12:00:00Z"},
            "planner restarted (pid 123 → 123)",
        ),
    ],
)
def test_reached(make: Any, action: str, before: Any, accepted: Any, now: Any, sentence: str) -> None:
    assert verdict(make, action, before, accepted, now) == (True, sentence)


@pytest.mark.parametrize(
    ("action", "before", "accepted", "now"),
    [
        ("start", STOPPED, STARTING, STARTING),
        ("start", STOPPED, STARTING, {"state": "running", "ready": False}),
        ("start", STOPPED, STOPPED | {"desired_state": "running"}, STOPPED | {"desired_state": "running"}),
        ("start", STOPPED, STARTING, {"state": "backoff", "ready": False}),
        ("stop", {}, STOPPING, STOPPING),
        ("stop", {}, STOPPING, {"desired_state": "stopped"}),
        ("stop", FAILED, FAILED | {"desired_state": "stopped"}, FAILED | {"desired_state": "stopped"}),
        ("pause", {}, {"desired_state": "paused"}, {"desired_state": "paused"}),
        ("kill", {}, {}, {}),
        ("restart", {}, {}, {}),
        ("restart", {}, {}, SUCCESSOR | {"ready": False}),
        ("restart", {}, {}, SUCCESSOR | STARTING),
    ],
)
def test_under_way(make: Any, action: str, before: Any, accepted: Any, now: Any) -> None:
    assert verdict(make, action, before, accepted, now) is None


@pytest.mark.parametrize(
    ("action", "accepted", "now", "reason"),
    [
        ("start", STARTING, FAILED, "it is failed: crash loop"),
        ("start", STARTING, STOPPED, "somebody wants it stopped now"),
        ("stop", STOPPING, FAILED | {"desired_state": "stopped"}, "it is failed: crash loop"),
        ("stop", STOPPING, {}, "somebody wants it running now"),
        ("restart", {}, STOPPED | {"desired_state": "running"}, "it is stopped"),
        ("restart", {}, {"state": "lost"}, "the manager has lost it"),
        ("pause", PAUSED, None, "the manager has lost it"),
    ],
)
def test_missed(make: Any, action: str, accepted: Any, now: Any, reason: str) -> None:
    assert verdict(make, action, {}, accepted, now) == (False, f"planner: {action} not reached, {reason}")


def test_a_state_that_the_agent_was_in_before_is_believed_after_a_grace_period(make: Any) -> None:
    accepted = FAILED | {"desired_state": "running"}
    assert verdict(make, "start", FAILED, accepted, accepted, GRACE_SECONDS - 0.1) is None
    late = verdict(make, "start", FAILED, accepted, accepted, GRACE_SECONDS)
    assert late == (False, "planner: start not reached, it is failed: crash loop")


def test_progress_counts_what_is_left_and_until_when(make: Any) -> None:
    drain = STOPPING | {"in_flight": 3, "drain_deadline": "2026-01-02T12:00:27Z"}
    assert progress(make.view(**drain), NOW) == "draining: 3 left, 27 s"
    final = drain | {"stop_deadline": "2026-01-02T12:00:37Z"}
    assert progress(make.view(**final), NOW) == "draining: 3 left, 27 s, SIGKILL in 37 s"
    assert draining(make.view(**STOPPING), NOW) == "0 left"
    overdue = drain | {"drain_deadline": "2026-01-02T11:59:00Z"}
    assert draining(make.view(**overdue), NOW) == "3 left, 0 s"


def test_progress_says_when_the_next_start_is_due(make: Any) -> None:
    backoff = make.view(state="backoff", next_start_at="2026-01-02T12:00:04Z")
    assert progress(backoff, NOW) == "backoff, next start in 4.0 s"
    assert progress(make.view(state="backoff"), NOW) == "backoff"
    assert progress(make.view(), NOW) == "running"


def test_why_prefers_the_states_own_reason(make: Any) -> None:
    last_exit = {"code": None, "signal": 9, "reason": "killed by signal 9", "at": "2026-01-02T11:00:00Z"}
    assert why(make.view(last_exit=last_exit, state="backoff")) == "killed by signal 9"
    assert why(make.view(last_exit=last_exit)) == ""
    assert why(make.view(last_exit=last_exit, state_reason="crash loop")) == "crash loop"
    assert why(make.view()) == ""
