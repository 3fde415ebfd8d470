from __future__ import annotations

import json
from typing import Any

import pytest

ALL = "GET /api/logs"


def logs_of(agent_id: str) -> str:
    return f"GET /api/agent-services/{agent_id}/logs"


def entry(message: str, agent_id: str = "planner") -> dict[str, Any]:
    return {"agent_id": agent_id, "level": None, "message": message, "line": message, "structured": False}


def page(*messages: str, newer: str = "c", **changes: Any) -> str:
    found = {"entries": [entry(each) for each in messages], "newer": newer, **changes}
    return f"id: {newer}\nevent: lines\ndata: {json.dumps(found)}"


END = 'event: end\ndata: {"found": 0, "older": null, "newer": "end"}'


def test_the_newest_lines_of_one_agent_are_printed_oldest_first(cli: Any, make: Any) -> None:
    found = make.event_stream(page("c", "d"), page("a", "b"), END)
    cli.manager.on(logs_of("planner"), found, {"lines": [], "note": None})
    result = cli("logs", "planner", "-n", "4")
    assert (result.exit_code, result.stdout) == (0, "a\nb\nc\nd\n")
    assert cli.manager.queries(logs_of("planner"))[0] == {"lines": "4", "follow": "false"}


def test_lines_of_several_agents_are_told_apart(cli: Any, make: Any) -> None:
    both = {"entries": [entry("one", "a"), entry("two", "b")], "newer": "c"}
    cli.manager.on(ALL, make.event_stream(f"event: lines\ndata: {json.dumps(both)}", END))
    assert cli("logs").stdout == "a | one\nb | two\n"
    assert cli("logs", "a", "b", "a").stdout == "a | one\nb | two\n"
    assert [sent.url.params.get_list("agent") for sent in cli.manager.requests] == [[], ["a", "b"]]


def test_json_is_an_object_per_line(cli: Any, make: Any) -> None:
    cli.manager.on(ALL, make.event_stream(page("one", "two"), END))
    assert [json.loads(line) for line in cli("logs", "--json").stdout.splitlines()] == [entry("one"), entry("two")]


def test_no_lines_asked_for_are_none(cli: Any) -> None:
    result = cli("logs", "planner", "-n", "0")
    assert (result.exit_code, result.stdout, cli.manager.requests) == (0, "", [])


def test_every_filter_is_a_parameter_of_the_api(cli: Any, make: Any) -> None:
    cli.manager.on(ALL, make.event_stream(END))
    options = ["--until", "1m", "--level", "error", "--grep", "x+", "--text", "y", "--request", "r", "--trace", "t"]
    assert cli("logs", "--since", "10m", "-n", "5", *options, "--task", "k", "--instance", "i").exit_code == 0
    assert cli.manager.queries(ALL) == [
        {"since": "10m", "until": "1m", "level": "error", "regex": "x+", "text": "y", "request": "r", "trace": "t"}
        | {"task": "k", "instance": "i", "lines": "5", "follow": "false"}
    ]


def test_since_a_time_everything_is_printed_as_it_is_found_however_much_it_is(cli: Any, make: Any) -> None:
    full = page(*(str(number) for number in range(10_000)), newer="full")
    cli.manager.on(ALL, make.event_stream(full, END), make.event_stream(page("last"), END))
    printed = cli("logs", "--since", "1h").stdout.splitlines()
    assert (len(printed), printed[0], printed[-1]) == (10_001, "planner | 0", "planner | last")
    first, second = cli.manager.queries(ALL)
    assert first == {"since": "1h", "lines": "10000", "order": "oldest", "follow": "false"}
    assert second == first | {"cursor": "end"}


def test_following_goes_on_after_each_stream_until_ctrl_c(cli: Any, make: Any) -> None:
    streams = (make.event_stream(page("a", newer="1"), page("b", newer="2")), make.event_stream(page("c", newer="3")))
    cli.manager.on(logs_of("planner"), *streams)
    cli.clock.interrupt_at = 2
    result = cli("logs", "planner", "-f", "-n", "1")
    assert (result.exit_code, result.stdout, result.stderr) == (130, "a\nb\nc\n", "")
    assert cli.manager.queries(logs_of("planner")) == [{"lines": "1"}, {"lines": "1", "cursor": "2"}]


def test_following_since_a_time_begins_with_what_there_is(cli: Any, make: Any) -> None:
    cli.manager.on(ALL, make.event_stream(page("old"), END), make.event_stream(page("new", newer="n")))
    cli.clock.interrupt_at = 1
    assert cli("logs", "-f", "--since", "1m").stdout == "planner | old\nplanner | new\n"
    assert cli.manager.queries(ALL)[1] == {"since": "1m", "lines": "100", "cursor": "end"}


def test_following_waits_for_a_manager_that_restarts_and_goes_on_where_it_was(cli: Any, make: Any) -> None:
    cli.manager.on(
        logs_of("planner"),
        make.event_stream(page("a", newer="1")),
        make.refuse_connection,
        make.event_stream(page("b", newer="2")),
    )
    cli.manager.on("GET /ready", {"status": "ready"})
    cli.clock.interrupt_at = 3
    result = cli("logs", "planner", "-f")
    assert (result.exit_code, result.stdout) == (130, "a\nb\n")
    assert result.stderr.splitlines() == [
        "The manager at http://127.0.0.1:8000 is away; trying again until it is back.",
        "The manager at http://127.0.0.1:8000 is back.",
    ]
    assert [query.get("cursor") for query in cli.manager.queries(logs_of("planner"))] == [None, "1", "1"]


def test_what_the_log_cannot_show_is_said_on_stderr(cli: Any, make: Any) -> None:
    cli.manager.on(logs_of("planner"), make.event_stream(page("a")), {"lines": [], "note": "The file was deleted."})
    once = cli("logs", "planner")
    assert (once.stdout, once.stderr) == ("a\n", "The file was deleted.\n")


def test_a_note_in_a_stream_is_said_on_stderr(cli: Any, make: Any) -> None:
    cli.manager.on(ALL, make.event_stream(page("a", note="Some lines were deleted.")))
    assert cli("logs").stderr == "Some lines were deleted.\n"


def test_what_goes_wrong_during_the_search_is_one_sentence(cli: Any, make: Any) -> None:
    problem = {"status": 400, "detail": "regex is no regular expression."}
    cli.manager.on(ALL, make.event_stream(page("a"), f"event: problem\ndata: {json.dumps(problem)}"))
    result = cli("logs", "--grep", "(a|aa)+$")
    assert (result.exit_code, result.stderr) == (1, "regex is no regular expression.\n")


def test_an_unknown_agent_is_one_sentence(cli: Any, make: Any) -> None:
    cli.manager.on(logs_of("nobody"), make.problem(404, "No agent is called nobody."))
    result = cli("logs", "nobody", "-f")
    assert (result.exit_code, result.stderr) == (1, "No agent is called nobody.\n")


@pytest.mark.parametrize("number", ["-1", "10001", "x"])
def test_a_wrong_number_is_wrong_usage(cli: Any, number: str) -> None:
    assert cli("logs", "-n", number).exit_code == 2
