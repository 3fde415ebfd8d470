"""An example agent: a LangGraph graph that splits a goal into steps by rules, without a model.

    {"goal": "Collect the figures, then write a report and send it to Ann"}

becomes three steps, the second after the first, the third after the second:

    read_goal ──a list──▶ split_list ──────┐
        └─────prose─────▶ split_sentences ─┴─▶ number_steps

A goal is a row of *stages*, one after the other; the tasks of one stage do not wait for each other.
"""

from __future__ import annotations

import re
from typing import Any, Literal, TypedDict

from langgraph.graph import END, START, StateGraph

MAX_GOAL_LENGTH = 4_000
MAX_STEPS = 100

# "and" and a comma join two tasks only before one of these: "buy milk and eggs" is one task.
VERBS = """
    add analyse analyze answer arrange ask assemble bake book build buy calculate call cancel check choose clean close
    collect compare compile compose configure contact cook copy count create decide define delete deliver deploy
    describe design discuss document download draft draw email estimate evaluate explain export fetch file find fix
    gather generate get give implement import inform inspect install interview invite learn list load make measure
    meet merge migrate monitor move notify open order organise organize outline pack paint pay pick plan post prepare
    present print publish read record release remove rename repair reply report request research reserve review
    rewrite run save schedule search select sell send set share ship sign sort start stop store study submit summarise
    summarize talk tell test tidy train translate update upload validate verify visit wash watch write
""".split()

BLANKS = re.compile(r"[^\S\n]+")
LIST_ITEM = re.compile(r"^\s*(?:(?P<number>\d+)[.)]|[-*•])\s+(?P<text>\S.*)$")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|[;\n]+")
SEQUENCE = re.compile(
    r"(?:[,\s]+(?:and\s+)?(?:then|after that|afterwards)|,\s*(?:and\s+)?(?:next|finally|lastly))\b[,\s]+", re.IGNORECASE
)
CONJUNCTION = re.compile(rf"(?:,\s*(?:and\s+)?|\s+and\s+)(?=(?:{'|'.join(VERBS)})\b)", re.IGNORECASE)
LEADING_WORDS = re.compile(
    r"^(?:(?:please|first|firstly|second|secondly|third|thirdly|then|next|after that|afterwards|finally|lastly|and)"
    r"[,\s]+)+",
    re.IGNORECASE,
)
REFERS_BACK = re.compile(r"\b(?:it|them|this|that|these|those|the results?)\b", re.IGNORECASE)


class Step(TypedDict):
    """One step. `depends_on` holds the numbers of the steps that must be done before it."""

    number: int
    title: str
    depends_on: list[int]


class Goal(TypedDict):
    """What the graph takes."""

    goal: str


class Plan(TypedDict):
    """What the graph answers."""

    goal: str
    steps: list[Step]


class State(Plan):
    """What the nodes share."""

    stages: list[list[str]]


def read_goal(state: State) -> dict[str, Any]:
    """The goal without needless blanks. Raises `ValueError` when there is none."""
    goal = state.get("goal")
    if not isinstance(goal, str) or not goal.strip():
        raise ValueError('There is no goal to plan for; send {"goal": "what you want done"}.')
    if len(goal) > MAX_GOAL_LENGTH:
        raise ValueError(f"The goal has {len(goal)} characters; shorten it to at most {MAX_GOAL_LENGTH}.")
    return {"goal": BLANKS.sub(" ", goal.strip())}


def kind_of_goal(state: State) -> Literal["split_list", "split_sentences"]:
    """A goal with at least two list items in lines of their own is a list."""
    items = sum(1 for line in state["goal"].splitlines() if LIST_ITEM.match(line))
    return "split_list" if items >= 2 else "split_sentences"


def split_list(state: State) -> dict[str, Any]:
    """A numbered list is an order: each item a stage. The items of a list with dashes are one stage."""
    items = [match for line in state["goal"].splitlines() if (match := LIST_ITEM.match(line))]
    texts = [match["text"] for match in items]
    numbered = all(match["number"] for match in items)
    return {"stages": [[text] for text in texts] if numbered else [texts]}


def split_sentences(state: State) -> dict[str, Any]:
    """A sentence ends a stage and so does "then"; "and" and commas separate the tasks within one."""
    sentences = [sentence for sentence in SENTENCE_END.split(state["goal"]) if _title(sentence)]
    clauses = [clause for sentence in sentences for clause in SEQUENCE.split(sentence)]
    return {"stages": [CONJUNCTION.split(_without_leading_words(clause)) for clause in clauses]}


def number_steps(state: State) -> dict[str, Any]:
    """Each task with a number, a title, and the steps it waits for."""
    steps: list[Step] = []
    before: list[int] = []
    for stage in state["stages"]:
        titles = [title for title in map(_title, stage) if title]
        numbers = list(range(len(steps) + 1, len(steps) + 1 + len(titles)))
        for number, title in zip(numbers, titles, strict=True):
            # "… and send it": a task that speaks of its neighbour's result waits for that one instead.
            follows = number > numbers[0] and REFERS_BACK.search(title)
            steps.append({"number": number, "title": title, "depends_on": [number - 1] if follows else list(before)})
        before = numbers or before
    if not 1 <= len(steps) <= MAX_STEPS:
        raise ValueError(f"The goal makes {len(steps)} steps; word it so that it makes 1 to {MAX_STEPS}.")
    return {"steps": steps}


def _without_leading_words(text: str) -> str:
    return LEADING_WORDS.sub("", text.strip())


def _title(text: str) -> str:
    words = _without_leading_words(text).strip(" \t,.;:!?")
    return words[:1].upper() + words[1:]


builder = StateGraph(State, input_schema=Goal, output_schema=Plan)
builder.add_node("read_goal", read_goal)
builder.add_node("split_list", split_list)
builder.add_node("split_sentences", split_sentences)
builder.add_node("number_steps", number_steps)
builder.add_edge(START, "read_goal")
builder.add_conditional_edges("read_goal", kind_of_goal)
builder.add_edge("split_list", "number_steps")
builder.add_edge("split_sentences", "number_steps")
builder.add_edge("number_steps", END)

graph = builder.compile(name="planner")
