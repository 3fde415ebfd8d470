from __future__ import annotations

import json
from typing import Any

import pytest

LIST = "GET /api/agent-services"
STOPPING = {"state": "stopping", "desired_state": "stopped", "ready": False}


def action_of(agent_id: str) -> str:
    return f"POST /api/agent-services/{agent_id}/action"


def test_stop_waits_and_says_who_is_still_busy(cli: Any, make: Any) -> None:
    def draining(left: int) -> Any:
        return make.listing(make.row(**STOPPING, in_flight=left, drain_deadline="2026-01-02T12:00:27Z"))

    cli.manager.on(LIST, make.listing(make.row()), draining(2), draining(2), draining(1))
    cli.manager.on(LIST, make.listing(make.stopped()))
    cli.manager.on(action_of("planner"), make.row(**STOPPING))
    result = cli("stop", "planner", "--reason", "upgrade", "--timeout", "27")
    assert (result.exit_code, result.stdout) == (0, "planner stopped\n")
    assert result.stderr == "planner: draining: 2 left, 27 s\nplanner: draining: 1 left, 27 s\n"
    body = {"action": "stop", "reason": "upgrade", "timeout_seconds": 27.0}
    assert cli.manager.bodies(action_of("planner")) == [body]


@pytest.mark.parametrize("action", ["start", "stop", "restart", "pause", "resume", "kill"])
def test_without_waiting_each_action_is_only_asked_for(cli: Any, make: Any, action: str) -> None:
    cli.manager.on(LIST, make.listing(make.row()))
    cli.manager.on(action_of("planner"), make.row())
    result = cli(action, "planner", "--no-wait")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"planner: {action} accepted\n", "")
    assert cli.manager.bodies(action_of("planner")) == [{"action": action}]
    assert cli.clock.sleeps == 0


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({}, {"state_reason": "it needs the extra 'local'"}, "planner is stopped: it needs the extra 'local'\n"),
        (
            {},
            {"state": "starting", "state_reason": "waits for llm, which is failed: no model"},
            "planner is starting: waits for llm, which is failed: no model\n",
        ),
        ({}, {"state": "failed", "state_reason": "no such program"}, "planner is failed: no such program\n"),
        # What was there before may not be what comes of this start.
        ({"state": "failed", "state_reason": "crash loop"}, {"state": "failed", "state_reason": "crash loop"}, ""),
        ({}, {"state": "starting"}, ""),
    ],
)
def test_a_start_that_is_not_waited_for_tells_what_keeps_the_agent_from_it(
    cli: Any, make: Any, before: dict[str, Any], after: dict[str, Any], said: str
) -> None:
    cli.manager.on(LIST, make.listing(make.stopped(**before)))
    cli.manager.on(action_of("planner"), make.stopped(**{"desired_state": "running", **after}))
    result = cli("start", "planner", "--no-wait")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "planner: start accepted\n", said)


@pytest.mark.parametrize("action", ["start", "pause", "resume", "kill"])
def test_only_what_drains_has_a_timeout(cli: Any, action: str) -> None:
    assert cli(action, "planner", "--timeout", "5").exit_code == 2


def test_one_refusal_does_not_keep_the_others_from_it(cli: Any, make: Any) -> None:
    cli.manager.on(LIST, make.listing(make.row("a"), make.row("b")))
    cli.manager.on(LIST, make.listing(make.row("a"), make.row("b", state="paused", desired_state="paused")))
    cli.manager.on(action_of("a"), make.problem(409, "a is stopping; wait."))
    cli.manager.on(action_of("b"), make.row("b", desired_state="paused"))
    result = cli("pause", "a", "b", "b", "nobody")
    assert (result.exit_code, result.stdout) == (1, "b paused\n")
    assert result.stderr.splitlines() == [
        "a is stopping; wait.",
        "There is nothing at /api/agent-services/nobody/action.",
    ]
    assert len(cli.manager.bodies(action_of("b"))) == 1


def test_all_leaves_out_those_whose_state_does_not_allow_it(cli: Any, make: Any) -> None:
    elsewhere = make.row("elsewhere", managed=False, actions=["pause", "stop", "restart"])
    cli.manager.on(LIST, make.listing(make.row("a"), make.stopped("b"), elsewhere))
    cli.manager.on(LIST, make.listing(make.row("a"), make.row("b"), elsewhere))
    for agent_id in ("a", "b"):
        cli.manager.on(action_of(agent_id), make.row(agent_id))
    result = cli("start", "--all")
    assert (result.exit_code, result.stdout) == (0, "a running (pid 123)\nb running (pid 123)\n")
    assert result.stderr == "Nothing to start: elsewhere (running)\n"


def test_a_goal_that_cannot_be_reached_any_more_is_exit_status_1(cli: Any, make: Any) -> None:
    failed = make.row(state="failed", state_reason="crash loop", ready=False, pid=None)
    cli.manager.on(LIST, make.listing(make.stopped()), make.listing(make.row(state="starting", ready=False)))
    cli.manager.on(LIST, make.listing(failed))
    cli.manager.on(action_of("planner"), make.row(state="starting", ready=False))
    result = cli("start", "planner")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "planner: starting",
        "planner: start not reached, it is failed: crash loop",
    ]


def test_json_is_the_rows_of_those_who_accepted(cli: Any, make: Any) -> None:
    rows = make.listing(make.stopped("a"), make.row("b"))
    cli.manager.on(LIST, rows)
    cli.manager.on(action_of("a"), make.stopped("a"))
    result = cli("stop", "a", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"agents": [make.stopped("a")]})


@pytest.mark.parametrize("arguments", [["stop"], ["stop", "a", "--all"], ["stop", "a", "--timeout", "-1"]])
def test_wrong_usage(cli: Any, arguments: list[str]) -> None:
    result = cli(*arguments)
    assert (result.exit_code, cli.manager.requests) == (2, [])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["stop"], "name the agents' ids, or say --all for every agent."),
        (["stop", "a", "--all"], "name the agents' ids or say --all, not both."),
    ],
)
def test_wrong_usage_says_what_to_do(cli: Any, arguments: list[str], sentence: str) -> None:
    assert sentence in cli(*arguments).stderr


def test_ctrl_c_ends_the_waiting_and_nothing_else(cli: Any, make: Any) -> None:
    cli.manager.on(LIST, make.listing(make.row()))
    cli.manager.on(action_of("planner"), make.row(desired_state="running"))
    cli.clock.interrupt_at = 3
    result = cli("restart", "planner")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "No longer waiting; the manager carries on."


def test_a_manager_that_goes_away_meanwhile_is_one_sentence(cli: Any, make: Any) -> None:
    cli.manager.on(LIST, make.listing(make.row()))
    cli.manager.on(action_of("planner"), make.refuse_connection)
    result = cli("stop", "planner", "--url", "http://127.0.0.1:9")
    assert result.exit_code == 1
    assert result.stderr == (
        "No manager answers at http://127.0.0.1:9; start one with `agent-manager up` or name it with --url.\n"
    )
