"""The executor runs arithmetic and text steps in a loop."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from agent_service.examples.executor import MAX_STEPS, graph
from agent_service.examples.operations import OPERATIONS


def run(*steps: Any) -> Any:
    return graph.invoke({"steps": [{"op": step[0], "args": list(step[1:])} for step in steps]})


CASES: list[tuple[str, list[Any], Any]] = [
    ("add", [1, 2, 3.5], 6.5),
    ("subtract", [5, 7], -2),
    ("multiply", [2, 3, 4], 24),
    ("divide", [7, 2], 3.5),
    ("remainder", [7, 4], 3),
    ("power", [2, 10], 1024),
    ("power", [0, 5], 0),
    ("power", [-1, 10**200], 1),
    ("power", [2, -1], 0.5),
    ("round", [2.567, 1], 2.6),
    ("round", [2.4], 2),
    ("minimum", [3, 1, 2], 1),
    ("maximum", [3, 1, 2], 3),
    ("upper", ["a"], "A"),
    ("lower", ["A"], "a"),
    ("title", ["a b"], "A B"),
    ("trim", [" a "], "a"),
    ("reverse", ["abc"], "cba"),
    ("concat", ["a", "b", "c"], "abc"),
    ("replace", ["aXa", "X", "-"], "a-a"),
    ("length", ["four"], 4),
]


@pytest.mark.parametrize(("op", "args", "result"), CASES)
def test_an_operation_gives_its_result(op: str, args: list[Any], result: Any) -> None:
    assert run((op, *args)) == {"results": [result], "output": result}


def test_every_operation_is_tested() -> None:
    assert {op for op, _, _ in CASES} == set(OPERATIONS)


def test_steps_use_earlier_results() -> None:
    answer = run(("add", 2, 3), ("multiply", "$last", 10), ("subtract", "$2", "$1"), ("concat", "$$1", "$", "$x"))
    assert answer == {"results": [5, 50, 45, "$1$$x"], "output": "$1$$x"}
    assert json.loads(json.dumps(answer)) == answer


def test_no_steps_give_no_output() -> None:
    assert run() == {"results": [], "output": None}


def test_as_many_steps_as_allowed_run() -> None:
    steps = [("add", 1, 0), *[("add", "$last", 1)] * (MAX_STEPS - 1)]
    assert run(*steps)["output"] == MAX_STEPS


def test_the_stream_shows_each_turn_of_the_loop() -> None:
    updates = list(graph.stream({"steps": [{"op": "upper", "args": ["a"]}] * 2}))
    assert updates == [
        {"check_steps": {"results": []}},
        {"run_step": {"results": ["A"]}},
        {"run_step": {"results": ["A"]}},
        {"finish": {"output": "A"}},
    ]


def test_it_answers_the_event_loop_too() -> None:
    assert asyncio.run(graph.ainvoke({"steps": [{"op": "length", "args": ["ab"]}]}))["output"] == 2


def test_results_cannot_be_sent() -> None:
    parameters: Any = {"steps": [{"op": "length", "args": ["ab"]}], "results": ["forged"]}
    answer = graph.invoke(parameters)
    assert answer["results"] == [2]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "There are no steps"),
        ({"steps": "add"}, "There are no steps"),
        ({"steps": [{"op": "add"}] * (MAX_STEPS + 1)}, "There are 101 steps"),
        ({"steps": [{"number": 1, "title": "Read"}]}, "Step 1 has no operation"),
        ({"steps": [{"op": "upper", "args": ["a"]}, 5]}, "Step 2 has no operation"),
        ({"steps": [{"op": "eval", "args": ["1"]}]}, "Step 1 has the unknown op 'eval'; use one of add,"),
        ({"steps": [{"op": "add", "args": 5}]}, r"Step 1 \(add\) has 'args' that are no array"),
    ],
)
def test_a_program_that_cannot_run_is_refused_before_it_does(parameters: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        graph.invoke(parameters)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (("divide", 8, 0), "divides by zero"),
        (("remainder", 8, 0), "divides by zero"),
        (("power", 0, -1), "divides by zero"),
        (("power", 10, 301), "too large"),
        (("power", 10**200, 10**200), "too large"),
        (("power", 1e-300, -2), "too large"),
        (("power", -8, 0.5), "no such root"),
        (("multiply", *[10**299] * 100), "beyond"),
        (("divide", 10**299, 1e-200), "not finite"),
        (("round", 1, -(10**9)), "digits"),
        (("round", 1.5, 0.5), "digits"),
        (("add", 1), "takes 2 to 100 argument"),
        (("add", *[1] * 101), "takes 2 to 100 argument"),
        (("subtract", 1, 2, 3), "takes 2 argument"),
        (("add", 1, "2"), "takes numbers and got '2'"),
        (("add", 1, True), "takes numbers and got True"),
        (("add", 1, None), "takes numbers"),
        (("add", 1, float("nan")), "not finite"),
        (("upper", 1), "takes text and got 1"),
        (("replace", "a", "", "b"), "no text to look for"),
        (("replace", "a" * 1000, "a", "b" * 1000), "text over"),
        (("concat", *["a" * 2000] * 100), "text over"),
        (("length", "a" * 100_001), "text over"),
        (("add", "$1", 1), "no earlier step"),
        (("add", "$0", 1), "no earlier step"),
        (("add", "$last", 1), "no earlier step"),
    ],
)
def test_a_step_that_fails_is_named_with_what_to_change(step: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^Step 1 \({step[0]}\) failed: .*{message}"):
        run(step)


def test_the_step_that_failed_is_named_by_its_number() -> None:
    with pytest.raises(ValueError, match=r"^Step 3 \(divide\) failed"):
        run(("add", 1, 1), ("add", 1, 1), ("divide", 1, 0))


def test_results_stay_bounded_however_often_they_are_doubled() -> None:
    with pytest.raises(ValueError, match="text over"):
        run(("concat", "a", "b"), *[("concat", "$last", "$last")] * 99)
