"""An example agent: a LangGraph graph with a conditional edge and a loop that runs a list of steps, without a model.

    {"steps": [{"op": "add", "args": [2, 3]}, {"op": "multiply", "args": ["$last", 10]}]}

answers `{"results": [5, 50], "output": 50}`.

    check_steps ──some──▶ run_step ◀──┐
         │                   ├──more──┘
         └──none──▶ finish ◀─┘ none left

"$1" is the first step's result and "$last" the one just before; "$$1" is the text "$1".
"""

from __future__ import annotations

import operator
import re
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from langgraph.graph import END, START, StateGraph

from agent_service.examples.operations import OPERATIONS, OperationFailed, Value

MAX_STEPS = 100
REFERENCE = re.compile(r"\$(?:last|[0-9]{1,6})")


class Step(TypedDict):
    """One step: an operation's name and what it works on."""

    op: str
    args: NotRequired[list[Any]]


class Program(TypedDict):
    """What the graph takes."""

    steps: list[Step]


class Outcome(TypedDict):
    """What the graph answers: every step's result, and the last of them (None without steps)."""

    results: Annotated[list[Value], operator.add]
    output: Value | None


class State(Program, Outcome):
    """What the nodes share; results are added to, never replaced."""


def check_steps(state: State) -> dict[str, Any]:
    """Refuse a program that cannot be run before its first step runs. Raises `ValueError`."""
    steps = state.get("steps")
    if not isinstance(steps, list):
        raise ValueError('There are no steps; send {"steps": [{"op": "add", "args": [2, 3]}]}.')
    if len(steps) > MAX_STEPS:
        raise ValueError(f"There are {len(steps)} steps; send at most {MAX_STEPS}.")
    for number, step in enumerate(steps, start=1):
        _check_step(number, step)
    return {"results": []}


def run_step(state: State) -> dict[str, Any]:
    """Run the first step that has no result yet. Raises `ValueError` that names it."""
    results = state["results"]
    step = state["steps"][len(results)]
    try:
        arguments = [_argument(value, results) for value in step.get("args", [])]
        return {"results": [OPERATIONS[step["op"]](arguments)]}
    except OperationFailed as error:
        raise ValueError(f"Step {len(results) + 1} ({step['op']}) failed: {error}.") from None


def next_node(state: State) -> Literal["run_step", "finish"]:
    """The loop's edge: back for the next step, or on when none is left."""
    return "run_step" if len(state["results"]) < len(state["steps"]) else "finish"


def finish(state: State) -> dict[str, Any]:
    """The last result is the output."""
    return {"output": state["results"][-1] if state["results"] else None}


def _check_step(number: int, step: object) -> None:
    if not isinstance(step, dict) or not isinstance(step.get("op"), str):
        raise ValueError(f'Step {number} has no operation; write it as {{"op": "add", "args": [2, 3]}}.')
    if step["op"] not in OPERATIONS:
        raise ValueError(f"Step {number} has the unknown op {step['op'][:40]!r}; use one of {', '.join(OPERATIONS)}.")
    if not isinstance(step.get("args", []), list):
        raise ValueError(f"Step {number} ({step['op']}) has 'args' that are no array; write them as [2, 3].")


def _argument(value: Any, results: list[Value]) -> Any:
    if isinstance(value, str) and REFERENCE.fullmatch(value):
        return _earlier_result(value, results)
    return value[1:] if isinstance(value, str) and value.startswith("$$") else value


def _earlier_result(reference: str, results: list[Value]) -> Value:
    number = len(results) if reference == "$last" else int(reference[1:])
    if not 1 <= number <= len(results):
        raise OperationFailed(f"{reference} is no earlier step's result; refer to a step before this one")
    return results[number - 1]


builder = StateGraph(State, input_schema=Program, output_schema=Outcome)
builder.add_node("check_steps", check_steps)
builder.add_node("run_step", run_step)
builder.add_node("finish", finish)
builder.add_edge(START, "check_steps")
builder.add_conditional_edges("check_steps", next_node)
builder.add_conditional_edges("run_step", next_node)
builder.add_edge("finish", END)

# LangGraph stops after so many nodes unless told otherwise: each step is one, check_steps and finish are two more.
graph = builder.compile(name="executor").with_config(recursion_limit=MAX_STEPS + 3)
