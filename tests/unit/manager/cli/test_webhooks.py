from __future__ import annotations

import json
from typing import Any

LIST = "GET /api/webhooks"
TEST = "POST /api/webhooks/oncall/test"


def delivery(**changes: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "webhook": "oncall",
        "event_id": None,
        "type": "webhook.test",
        "state": "delivered",
        "created_at": "2026-01-02T11:59:00.000Z",
        "attempts": 1,
        "next_attempt_at": None,
        "finished_at": "2026-01-02T11:59:00.100Z",
        "status": 204,
        "error": None,
        "duration_ms": 42.0,
        **changes,
    }


def webhook(**changes: Any) -> dict[str, Any]:
    return {
        "name": "oncall",
        "url": "env:ONCALL_URL",
        "kinds": ["failed", "lost"],
        "agents": None,
        "pending": 0,
        "consecutive_failures": 0,
        "next_attempt_at": None,
        "last_delivery": None,
        "last_delivered_at": None,
        **changes,
    }


def test_a_webhook_that_was_told_nothing_yet(cli: Any) -> None:
    cli.manager.on(LIST, {"webhooks": [webhook()]})
    assert cli("webhooks", "list").stdout.splitlines() == [
        "oncall           env:ONCALL_URL",
        "  told of        failed, lost (all agents)",
        "  last           nothing yet",
    ]


def test_a_webhook_that_fails_tells_what_waits_and_why(cli: Any) -> None:
    failed = delivery(state="pending", type="agent.failed", event_id=7, error="It answered 500.")
    ill = webhook(
        agents=["planner"],
        pending=3,
        consecutive_failures=4,
        next_attempt_at="2026-01-02T12:00:08.000Z",
        last_delivery=failed,
    )
    cli.manager.on(LIST, {"webhooks": [ill]})
    lines = cli("webhooks", "list").stdout.splitlines()
    assert lines[1] == "  told of        failed, lost (planner)"
    assert lines[2].endswith("agent.failed, pending: It answered 500.")
    assert lines[3:] == ["  waiting        3, the next attempt in 8.0 s", "  failures       4 in a row"]


def test_without_webhooks_it_is_said_where_they_belong(cli: Any) -> None:
    cli.manager.on(LIST, {"webhooks": []})
    assert "runtime.webhooks" in cli("webhooks", "list").stdout
    assert json.loads(cli("webhooks", "list", "--json").stdout) == {"webhooks": []}


def test_a_test_that_arrives(cli: Any) -> None:
    cli.manager.on(TEST, delivery())
    result = cli("webhooks", "test", "oncall")
    assert (result.exit_code, result.stdout) == (0, "oncall took the test msg_1: 204 after 42 ms\n")


def test_a_test_that_does_not_arrive_has_status_1(cli: Any) -> None:
    cli.manager.on(TEST, delivery(state="given_up", status=401, error="It answered 401 Unauthorized."))
    result = cli("webhooks", "test", "oncall")
    assert (result.exit_code, result.stderr) == (
        1,
        "oncall did not take the test msg_1: It answered 401 Unauthorized.\n",
    )
    as_json = cli("webhooks", "test", "oncall", "--json")
    assert (as_json.exit_code, json.loads(as_json.stdout)["status"]) == (1, 401)
