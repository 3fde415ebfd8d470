"""The planner splits goals into steps by rules."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from agent_service.examples.planner import MAX_GOAL_LENGTH, graph


def plan(goal: str) -> list[tuple[str, list[int]]]:
    answer = graph.invoke({"goal": goal})
    assert [step["number"] for step in answer["steps"]] == list(range(1, len(answer["steps"]) + 1))
    return [(step["title"], step["depends_on"]) for step in answer["steps"]]


@pytest.mark.parametrize(
    ("goal", "steps"),
    [
        ("tidy the desk", [("Tidy the desk", [])]),
        ("Buy milk, eggs and bread.", [("Buy milk, eggs and bread", [])]),
        ("Prepare the next meeting", [("Prepare the next meeting", [])]),
        ("Book flights and pack", [("Book flights", []), ("Pack", [])]),
        ("Read it, then write it", [("Read it", []), ("Write it", [1])]),
        (
            "Collect the figures, then write a report and send it to Ann",
            [("Collect the figures", []), ("Write a report", [1]), ("Send it to Ann", [2])],
        ),
        (
            "First plan the trip, book flights and pack. Finally, tell Bob!",
            [("Plan the trip", []), ("Book flights", []), ("Pack", []), ("Tell Bob", [1, 2, 3])],
        ),
        ("1. a\n2) b\n3. c", [("A", []), ("B", [1]), ("C", [2])]),
        ("To do:\n- x and y\n* z", [("X and y", []), ("Z", [])]),
        ("one\ntwo; three", [("One", []), ("Two", [1]), ("Three", [2])]),
    ],
)
def test_a_goal_becomes_steps_with_what_they_wait_for(goal: str, steps: list[tuple[str, list[int]]]) -> None:
    assert plan(goal) == steps


def test_the_answer_is_the_goal_and_its_steps_as_json() -> None:
    answer = graph.invoke({"goal": "  Read \t books \n"})
    assert answer == {"goal": "Read books", "steps": [{"number": 1, "title": "Read books", "depends_on": []}]}
    assert json.loads(json.dumps(answer)) == answer


def test_the_stream_shows_each_node() -> None:
    assert [next(iter(update)) for update in graph.stream({"goal": "1. a\n2. b"})] == [
        "read_goal",
        "split_list",
        "number_steps",
    ]
    assert [next(iter(update)) for update in graph.stream({"goal": "Read then write"})] == [
        "read_goal",
        "split_sentences",
        "number_steps",
    ]


def test_it_answers_the_event_loop_too() -> None:
    assert len(asyncio.run(graph.ainvoke({"goal": "Read, then write"}))["steps"]) == 2


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "There is no goal"),
        ({"other": 1}, "There is no goal"),
        ({"goal": None}, "There is no goal"),
        ({"goal": 42}, "There is no goal"),
        ({"goal": " \n"}, "There is no goal"),
        ({"goal": "..."}, "makes 0 steps"),
        ({"goal": "a;" * 200}, "makes 200 steps"),
        ({"goal": "a" * (MAX_GOAL_LENGTH + 1)}, "shorten it"),
    ],
)
def test_a_goal_that_is_none_is_refused(parameters: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        graph.invoke(parameters)
