"""`config diff` and `reload`: the same difference, shown or taken over."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

DIFF, RELOAD = "GET /api/config/diff", "POST /api/config/reload"
NOTHING: dict[str, Any] = {"added": [], "removed": [], "changed": [], "reordered": False, "runtime": []}


def change(path: str, before: Any, after: Any, effect: str = "restart") -> dict[str, Any]:
    return {"path": path, "before": before, "after": after, "effect": effect}


CHANGES = {
    "added": ["writer"],
    "removed": ["translator"],
    "changed": [
        {
            "id": "planner",
            "effect": "restart",
            "changes": [change("env.API_KEY", "***", "***"), change("port", None, 8100)],
        },
        {"id": "executor", "effect": "live", "changes": [change("drainTimeoutSeconds", 30.0, 60.5, "live")]},
    ],
    "reordered": True,
    "runtime": [
        change("logDirectory", "logs", "elsewhere", "manager_restart"),
        change("restart.policy", "always", "never", "live"),
    ],
}
LINES = """\
+ writer: starts
- translator: drains and goes
~ planner: restarts
    env.API_KEY: another value, hidden
    port: (none) → 8100
~ executor: counts at once
    drainTimeoutSeconds: 30 → 60.5
~ runtime: needs a restart of the manager
    logDirectory: "logs" → "elsewhere"
~ runtime: for the agents that do not set it
    restart.policy: "always" → "never"
~ the order of the agents
"""


def test_config_diff_shows_every_change_with_its_effect(cli: Any) -> None:
    cli.manager.on(DIFF, CHANGES)
    result = cli("config", "diff")
    assert (result.exit_code, result.stdout, result.stderr) == (0, LINES, "")
    assert [request.method for request in cli.manager.requests] == ["GET"]


def test_reload_shows_the_same_and_what_was_done(cli: Any) -> None:
    cli.manager.on(RELOAD, httpx.Response(202, json=CHANGES))
    result = cli("reload")
    assert result.exit_code == 0
    assert result.stdout == LINES + (
        "Reloaded: added writer; removed translator; restarting planner; changed without a restart executor; "
        "changed in runtime: restart.policy; waiting for a restart of the manager: logDirectory; reordered\n"
    )


def test_a_stopped_agent_is_not_said_to_restart(cli: Any) -> None:
    stopped = {"id": "planner", "effect": "restart", "stopped": True, "changes": [change("port", None, 8100)]}
    cli.manager.on(DIFF, NOTHING | {"changed": [stopped]})
    assert cli("config", "diff").stdout == "~ planner: counts at its next start\n    port: (none) → 8100\n"


def webhook(name: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "url": "https://example.org/", "kinds": ["failed"], "agents": None, **changes}


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ([], [webhook("on-call")], ["webhook on-call: added"]),
        ([webhook("old")], [webhook("new")], ["webhook old: removed", "webhook new: added"]),
        (
            [webhook("chat"), webhook("same")],
            [webhook("chat", kinds=["failed", "lost"], agents=["planner"]), webhook("same")],
            ['webhook chat, kinds: ["failed"] → ["failed", "lost"]', 'webhook chat, agents: (none) → ["planner"]'],
        ),
        ([webhook("a"), webhook("b")], [webhook("b"), webhook("a")], ["webhooks: in another order"]),
    ],
)
def test_webhooks_are_told_by_name_and_count_at_once(cli: Any, before: Any, after: Any, lines: list[str]) -> None:
    cli.manager.on(RELOAD, NOTHING | {"runtime": [change("webhooks", before, after, "live")]})
    told = ["~ runtime: counts at once", *(f"    {line}" for line in lines), "Reloaded: changed in runtime: webhooks"]
    assert cli("reload").stdout.splitlines() == told


@pytest.mark.parametrize(("command", "request_line"), [(["config", "diff"], DIFF), (["reload"], RELOAD)])
class TestBoth:
    def test_no_differences_are_said_so(self, cli: Any, command: list[str], request_line: str) -> None:
        cli.manager.on(request_line, NOTHING)
        result = cli(*command)
        assert (result.exit_code, result.stdout) == (0, "no differences\n")

    def test_json_is_what_the_api_answers(self, cli: Any, command: list[str], request_line: str) -> None:
        cli.manager.on(request_line, CHANGES)
        assert json.loads(cli(*command, "--json").stdout) == CHANGES

    def test_everything_that_is_wrong_is_listed(self, cli: Any, command: list[str], request_line: str) -> None:
        problem = {
            "title": "Unprocessable",
            "status": 422,
            "detail": "f.json has 2 errors, so nothing was changed; correct them and try again.",
            "errors": [{"path": "a", "found": "b", "allowed": "c"}, {"path": "d", "found": "\x1b", "allowed": "f"}],
        }
        cli.manager.on(request_line, httpx.Response(422, json=problem))
        result = cli(*command)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == f"{problem['detail']}\n  a: found b; c\n  d: found \\x1b; f\n"

    def test_an_answer_of_another_version_is_a_sentence(self, cli: Any, command: list[str], request_line: str) -> None:
        cli.manager.on(request_line, {"changed": "?"})
        result = cli(*command)
        assert result.exit_code == 1
        assert "is it a manager of the same version?" in result.stderr

    def test_nobody_there(self, cli: Any, make: Any, command: list[str], request_line: str) -> None:
        cli.manager.on(request_line, make.refuse_connection)
        result = cli(*command)
        assert (result.exit_code, "No manager answers" in result.stderr) == (1, True)

    def test_what_the_config_says_cannot_drive_the_terminal(
        self, cli: Any, command: list[str], request_line: str
    ) -> None:
        changed = [{"id": "a", "effect": "live", "changes": [change("metadata.\x1b[2J", None, "\x9b", "live")]}]
        cli.manager.on(request_line, NOTHING | {"changed": changed})
        printed = cli(*command).stdout
        assert "\x1b" not in printed and "\x9b" not in printed
