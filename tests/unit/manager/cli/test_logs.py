from __future__ import annotations

import json
from typing import Any

LIST = "GET /api/agent-services"


def logs_of(agent_id: str) -> str:
    return f"{LIST}/{agent_id}/logs"


def answer(*lines: str) -> dict[str, Any]:
    return {"lines": list(lines)}


def test_the_newest_lines_of_one_agent(cli: Any) -> None:
    cli.manager.on(logs_of("planner"), answer("a", "b"))
    result = cli("logs", "planner", "-n", "2")
    assert (result.exit_code, result.stdout) == (0, "a\nb\n")
    assert cli.manager.queries(logs_of("planner")) == [{"lines": "2"}]


def test_lines_of_several_agents_are_told_apart(cli: Any, make: Any) -> None:
    cli.manager.on(LIST, make.listing(make.row("a"), make.row("b")))
    cli.manager.on(logs_of("a"), answer("one"))
    cli.manager.on(logs_of("b"), answer("two", "three"))
    assert cli("logs").stdout == "a | one\nb | two\nb | three\n"
    assert cli("logs", "b", "b").stdout == "two\nthree\n"


def test_json_is_an_object_per_agent(cli: Any) -> None:
    cli.manager.on(logs_of("a"), answer("one"))
    cli.manager.on(logs_of("b"), answer())
    lines = cli("logs", "a", "b", "--json").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [
        {"agent_id": "a", "lines": ["one"]},
        {"agent_id": "b", "lines": []},
    ]


def test_no_lines_asked_for_are_none(cli: Any) -> None:
    result = cli("logs", "planner", "-n", "0")
    assert (result.exit_code, result.stdout, cli.manager.requests) == (0, "", [])


def test_following_prints_only_what_is_new_until_ctrl_c(cli: Any) -> None:
    cli.manager.on(logs_of("planner"), answer("a", "b"), answer("a", "b"), answer("a", "b", "c"), answer("c", "d"))
    cli.clock.interrupt_at = 4
    result = cli("logs", "planner", "-f", "-n", "1")
    assert (result.exit_code, result.stdout, result.stderr) == (130, "b\nc\nd\n", "")
    assert cli.manager.queries(logs_of("planner")) == [{"lines": "1000"}] * 4


def test_following_says_where_lines_may_be_missing(cli: Any) -> None:
    cli.manager.on(logs_of("planner"), answer("a"), answer("x"))
    cli.clock.interrupt_at = 2
    result = cli("logs", "planner", "-f", "--json")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"agent_id": "planner", "line": "a"},
        {"agent_id": "planner", "line": "x"},
    ]
    assert result.stderr == "planner: lines may be missing here; its log file has them.\n"


def test_following_all_takes_up_agents_that_come_later(cli: Any, make: Any) -> None:
    cli.manager.on(LIST, make.listing(make.row("a")), make.listing(make.row("a"), make.row("b")))
    cli.manager.on(logs_of("a"), answer("one"))
    cli.manager.on(logs_of("b"), answer("two"))
    cli.clock.interrupt_at = 2
    assert cli("logs", "-f", "-n", "0").stdout == ""
    cli.clock.interrupt_at = 4
    assert cli("logs", "-f").stdout == "a | one\nb | two\n"


def test_following_waits_for_a_manager_that_restarts_and_prints_no_line_twice(cli: Any, make: Any) -> None:
    cli.manager.on(logs_of("planner"), answer("a", "b"), make.refuse_connection, answer("b", "c"))
    cli.manager.on("GET /ready", {"status": "ready"})
    cli.clock.interrupt_at = 3
    result = cli("logs", "planner", "-f")
    assert (result.exit_code, result.stdout) == (130, "a\nb\nc\n")
    assert result.stderr.splitlines() == [
        "The manager at http://127.0.0.1:8000 is away; trying again until it is back.",
        "The manager at http://127.0.0.1:8000 is back.",
    ]


def test_a_gap_is_closed_with_as_many_lines_as_the_manager_gives(cli: Any) -> None:
    cli.manager.on(logs_of("planner"), answer("a"), answer("y", "z"), answer("a", "x", "y", "z"))
    cli.clock.interrupt_at = 2
    result = cli("logs", "planner", "-f")
    assert (result.stdout, result.stderr) == ("a\nx\ny\nz\n", "")
    assert [query["lines"] for query in cli.manager.queries(logs_of("planner"))] == ["1000", "1000", "10000"]


def test_what_the_log_cannot_show_is_said_on_stderr_once(cli: Any) -> None:
    cli.manager.on(logs_of("planner"), answer("a") | {"note": "The log file was deleted."})
    once = cli("logs", "planner")
    assert (once.stdout, once.stderr) == ("a\n", "The log file was deleted.\n")
    as_json = json.loads(cli("logs", "planner", "--json").stdout)
    assert as_json == {"agent_id": "planner", "lines": ["a"], "note": "The log file was deleted."}
    cli.clock.interrupt_at = 3
    assert cli("logs", "planner", "-f").stderr == "The log file was deleted.\n"


def test_an_unknown_agent_is_one_sentence(cli: Any, make: Any) -> None:
    cli.manager.on(logs_of("nobody"), make.problem(404, "No agent is called nobody."))
    result = cli("logs", "nobody", "-f")
    assert (result.exit_code, result.stderr) == (1, "No agent is called nobody.\n")


def test_a_negative_number_is_wrong_usage(cli: Any) -> None:
    assert cli("logs", "-n", "-1").exit_code == 2
