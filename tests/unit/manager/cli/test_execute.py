from __future__ import annotations

import json
from typing import Any

import pytest

EXECUTE = "POST /api/agent-services/planner/execute"


def answer(result: Any) -> dict[str, Any]:
    return {"task_id": "t1", "result": result, "duration_ms": 1234.5}


@pytest.mark.parametrize(
    ("result", "printed"),
    [("a line\n\x1b[31m", "a line\n\\x1b[31m\n"), ({"é": [1]}, '{\n  "é": [\n    1\n  ]\n}\n'), (None, "null\n")],
)
def test_the_result_is_on_stdout_alone(cli: Any, result: Any, printed: str) -> None:
    cli.manager.on(EXECUTE, answer(result))
    ran = cli("execute", "planner", '{"goal": "tea"}')
    assert (ran.exit_code, ran.stdout) == (0, printed)
    assert ran.stderr == "Task t1 done in 1.2 s\n"
    assert cli.manager.bodies(EXECUTE) == [{"parameters": {"goal": "tea"}}]


def test_parameters_come_from_stdin_where_the_argument_is_a_dash(cli: Any) -> None:
    cli.manager.on(EXECUTE, answer("done"))
    assert cli("execute", "planner", "-", stdin='{"goal": "tea"}\n').exit_code == 0
    assert cli.manager.bodies(EXECUTE) == [{"parameters": {"goal": "tea"}}]


def test_json_is_the_apis_own_answer(cli: Any) -> None:
    cli.manager.on(EXECUTE, answer({"a": 1}))
    ran = cli("execute", "planner", "{}", "--json")
    assert (json.loads(ran.stdout), ran.stderr) == (answer({"a": 1}), "")


@pytest.mark.parametrize("parameters", ["goal", "[1]", '"text"', "", "null"])
def test_what_is_no_json_object_is_wrong_usage(cli: Any, parameters: str) -> None:
    ran = cli("execute", "planner", parameters)
    assert ran.exit_code == 2
    assert '{"goal": "tea"}' in ran.stderr
    assert cli.manager.requests == []


@pytest.mark.parametrize("options", [[], ["--stream"], ["--json"]])
def test_a_refusal_is_one_sentence(cli: Any, make: Any, options: list[str]) -> None:
    cli.manager.on(EXECUTE, make.problem(409, "planner is paused; resume it first."))
    ran = cli("execute", "planner", "{}", *options)
    assert (ran.exit_code, ran.stdout, ran.stderr) == (1, "", "planner is paused; resume it first.\n")


def test_a_task_that_failed_is_told_with_the_way_to_its_lines(cli: Any, make: Any) -> None:
    failed = make.problem(500, "The agent's own code failed: ValueError: no tea.")
    failed.headers["X-Task-ID"] = "t1"
    cli.manager.on(EXECUTE, failed)
    ran = cli("execute", "planner", "{}")
    said = "The agent's own code failed: ValueError: no tea.\nIts lines: agent-manager logs planner --task t1\n"
    assert (ran.exit_code, ran.stdout, ran.stderr) == (1, "", said)


def sse(event: str, data: Any) -> str:
    return f"event: {event}\ndata: {json.dumps(data)}"


def test_a_stream_prints_each_chunk_and_then_the_result(cli: Any, make: Any) -> None:
    stream = make.event_stream(sse("chunk", "one"), sse("chunk", {"n": 2}), sse("result", answer("all")))
    cli.manager.on(EXECUTE, stream)
    ran = cli("execute", "planner", "{}", "--stream")
    assert (ran.exit_code, ran.stdout) == (0, 'one\n{"n": 2}\nall\n')
    assert cli.manager.requests[0].headers["Accept"] == "text/event-stream"


def test_a_stream_as_json_is_an_event_per_line(cli: Any, make: Any) -> None:
    cli.manager.on(EXECUTE, make.event_stream(sse("chunk", "one"), sse("result", answer("all"))))
    ran = cli("execute", "planner", "{}", "--stream", "--json")
    assert [json.loads(line) for line in ran.stdout.splitlines()] == [
        {"event": "chunk", "data": "one"},
        {"event": "result", "data": answer("all")},
    ]


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        ([sse("chunk", 1), sse("error", {"detail": "ValueError: no tea"})], "ValueError: no tea"),
        (
            [sse("chunk", 1), sse("error", {"detail": "ValueError: no tea", "task_id": "t1"})],
            "ValueError: no tea\nIts lines: agent-manager logs planner --task t1",
        ),
        ([sse("chunk", 1)], "The stream of planner ended before its result; look into `agent-manager logs planner`."),
        ([sse("chunk", 1), sse("error", "odd")], "odd"),
        (
            [sse("chunk", 1), "event: chunk\ndata: {"],
            "The stream of planner holds something that is not JSON; its adapter must be repaired.",
        ),
    ],
)
def test_a_stream_without_a_result_fails(cli: Any, make: Any, events: list[str], sentence: str) -> None:
    cli.manager.on(EXECUTE, make.event_stream(*events))
    ran = cli("execute", "planner", "{}", "--stream")
    assert (ran.exit_code, ran.stdout, ran.stderr) == (1, "1\n", sentence + "\n")
