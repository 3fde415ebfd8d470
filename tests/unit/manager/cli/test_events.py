from __future__ import annotations

import json
from typing import Any

EVENTS = "GET /api/events"


def sse(make: Any, number: int) -> str:
    return f"id: {number}\nevent: state_changed\ndata: {json.dumps(make.event(number))}"


def test_the_newest_events_oldest_first(cli: Any, make: Any) -> None:
    asked = make.event(2, message="planner is paused", actor="ada", reason="lunch")
    cli.manager.on(EVENTS, {"events": [make.event(1, agent_id=None, message="The manager serves"), asked]})
    result = cli("events", "-n", "2", "--agent", "planner")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0].endswith("  manager          The manager serves")
    assert lines[1].endswith("  planner          planner is paused (by ada, because: lunch)")
    assert cli.manager.queries(EVENTS) == [{"agent": "planner", "limit": "2"}]


def test_an_event_does_not_tell_twice_who_asked(cli: Any, make: Any) -> None:
    asked = make.event(2, message="cli asked planner to stop", actor="cli", reason=None)
    cli.manager.on(EVENTS, {"events": [asked]})
    assert cli("events").stdout.endswith("  planner          cli asked planner to stop\n")


def test_json_is_the_apis_own_answer(cli: Any, make: Any) -> None:
    answer = {"events": [make.event(1) | {"kind": "a_later_kind"}]}
    cli.manager.on(EVENTS, answer)
    assert json.loads(cli("events", "--json").stdout) == answer


def test_following_goes_on_from_the_last_event_and_survives_the_streams_end(cli: Any, make: Any) -> None:
    cli.manager.on(EVENTS, {"events": [make.event(4), make.event(5)]})
    cli.manager.on(EVENTS, make.event_stream(": keep-alive", sse(make, 6), sse(make, 7)))
    cli.manager.on(EVENTS, make.event_stream(sse(make, 8)))
    cli.clock.interrupt_at = 2
    result = cli("events", "-f")
    assert result.exit_code == 130
    assert [line.split()[-1] for line in result.stdout.splitlines()] == ["4", "5", "6", "7", "8"]
    assert [query.get("after") for query in cli.manager.queries(EVENTS)] == [None, "5", "7"]
    assert cli.manager.requests[1].headers["Accept"] == "text/event-stream"


def test_an_empty_stream_loses_no_place(cli: Any, make: Any) -> None:
    cli.manager.on(EVENTS, {"events": []}, make.event_stream(), make.event_stream(sse(make, 1)), make.event_stream())
    cli.clock.interrupt_at = 4
    cli("events", "-f", "--agent", "planner")
    assert [query.get("after") for query in cli.manager.queries(EVENTS)] == [None, "0", "0", "1", "1"]


def test_following_as_json_is_an_event_per_line(cli: Any, make: Any) -> None:
    cli.manager.on(EVENTS, {"events": [make.event(1)]}, make.event_stream(sse(make, 2)))
    cli.clock.interrupt_at = 1
    lines = cli("events", "-f", "--json").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [make.event(1), make.event(2)]


def test_following_a_manager_that_is_not_there_is_one_sentence(cli: Any, make: Any) -> None:
    cli.manager.on(EVENTS, make.refuse_connection)
    result = cli("events", "-f")
    assert result.exit_code == 1
    assert result.stderr.startswith("No manager answers at http://127.0.0.1:8000;")


def test_following_waits_for_a_manager_that_restarts_and_goes_on_after_the_last_event(cli: Any, make: Any) -> None:
    cli.manager.on(EVENTS, {"events": [make.event(1)]}, make.event_stream(sse(make, 2)), make.refuse_connection)
    cli.manager.on(EVENTS, make.event_stream(sse(make, 3)))
    starting = make.problem(503, "The manager is starting.")
    cli.manager.on("GET /ready", make.refuse_connection, starting, make.refuse_connection, {"status": "ready"})
    cli.clock.interrupt_at = 6
    result = cli("events", "-f")
    assert result.exit_code == 130
    assert [line.split()[-1] for line in result.stdout.splitlines()] == ["1", "2", "3"]
    assert result.stderr.splitlines()[:2] == [
        "The manager at http://127.0.0.1:8000 is away; trying again until it is back.",
        "The manager at http://127.0.0.1:8000 is back.",
    ]
    assert cli.manager.queries(EVENTS)[-1]["after"] == "2"
    # A pause after the first stream, then the waits, each twice the one before.
    assert cli.clock.seconds == 1 + 0.5 + 1 + 2 + 4


def test_a_refusal_that_waiting_does_not_mend_ends_the_following(cli: Any, make: Any) -> None:
    cli.manager.on(EVENTS, {"events": [make.event(1)]}, make.problem(401, "The token is wrong."))
    result = cli("events", "-f")
    assert (result.exit_code, result.stderr) == (1, "The token is wrong.\n")


def test_an_event_that_cannot_be_read_is_one_sentence(cli: Any, make: Any) -> None:
    cli.manager.on(EVENTS, {"events": []}, make.event_stream("data: {broken"))
    result = cli("events", "-f")
    assert result.exit_code == 1
    assert "does not understand" in result.stderr


def test_what_is_asked_for_is_asked_of_the_api_in_the_list_and_in_the_stream(cli: Any, make: Any) -> None:
    cli.manager.on(EVENTS, {"events": [make.event(4)]}, make.event_stream(sse(make, 5)))
    cli.clock.interrupt_at = 1
    cli("events", "-f", "--kind", "failed", "--kind", "lost", "--since", "2h", "--actor", "ada", "--text", "disk")
    for request in cli.manager.requests[:2]:
        assert request.url.params.get_list("kind") == ["failed", "lost"]
        assert {name: request.url.params[name] for name in ("since", "actor", "text")} == {
            "since": "2h",
            "actor": "ada",
            "text": "disk",
        }


def test_a_filter_that_the_manager_does_not_take_is_one_sentence(cli: Any, make: Any) -> None:
    cli.manager.on(EVENTS, make.problem(400, "since is 'soon'; give an age such as 10m."))
    result = cli("events", "--since", "soon")
    assert (result.exit_code, result.stderr) == (1, "since is 'soon'; give an age such as 10m.\n")
