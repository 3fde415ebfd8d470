from __future__ import annotations

import asyncio

import pytest

from manager.errors import BadRequest, StateConflict
from manager.supervision.states import AgentAction, AgentState, Strategy
from tests.unit.web.fakes import World, view
from web.commands import Command, give_all
from web.rendering import Outcome


def all_of(world: World, word: str, *agent_ids: str, **fields: str) -> Outcome:
    return asyncio.run(give_all(Command.read({"action": word, **fields}, "ada"), world.fleet, agent_ids))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "Unknown action ''; use one of start, pause, resume, stop, restart, kill, recreate, scale."),
        ({"action": "Stop"}, "Unknown action 'Stop'"),
        ({"action": "scale"}, "Give the number of instances as a whole number from 1 to 64."),
        ({"action": "scale", "instances": "0"}, "from 1 to 64"),
        ({"action": "scale", "instances": "65"}, "from 1 to 64"),
        ({"action": "scale", "instances": "²"}, "from 1 to 64"),
        ({"action": "stop", "reason": "x" * 501}, "Shorten the reason to 500 characters."),
    ],
)
def test_a_form_that_asks_for_nothing_possible_is_told_what_is(fields: dict[str, str], told: str) -> None:
    with pytest.raises(BadRequest) as refused:
        Command.read(fields, "ada")
    assert told in refused.value.detail


def test_instances_beside_another_button_are_not_its_business() -> None:
    command = Command.read({"action": "stop", "instances": "a lot", "reason": "  "}, "ada")
    assert command == Command("stop", "ada")


def test_a_restart_with_the_old_one_first_is_a_strategy() -> None:
    world = World(view())
    asyncio.run(Command.read({"action": "recreate"}, "ada").give(world.fleet, "planner"))
    asyncio.run(Command.read({"action": "pause"}, "ada").give(World(view()).fleet, "planner"))
    assert world.fleet.acts == [("planner", AgentAction.RESTART, "ada", None)]
    assert world.fleet.strategies == [Strategy.RECREATE]


def test_scale_changes_how_many_are_wanted() -> None:
    world = World(view())
    command = Command.read({"action": "scale", "instances": " 3 "}, "ada")
    after = asyncio.run(command.give(world.fleet, "planner"))
    assert after.instances_wanted == 3
    assert command.accepted(after) == Outcome("Scale accepted", "3 instances wanted.", refused=False)


@pytest.mark.parametrize("word", ["start", "resume", "pause", "restart", "recreate"])
@pytest.mark.parametrize("state", [AgentState.STOPPED, AgentState.FAILED, AgentState.BACKOFF])
def test_what_stands_in_the_way_of_an_action_is_told_with_it(word: str, state: AgentState) -> None:
    outcome = Command.read({"action": word}, "ada").accepted(
        view(state=state, state_reason="it needs the extra 'react'")
    )
    assert outcome.held_up and not outcome.refused
    assert outcome.detail == f"The agent is {state.value}: it needs the extra 'react'"
    assert 'class="told accepted held-up"' in World().renderer.outcome(outcome)


@pytest.mark.parametrize(
    ("word", "state", "reason"),
    [
        ("start", AgentState.STOPPED, None),
        ("start", AgentState.STARTING, "waits for llm"),
        ("stop", AgentState.STOPPED, "it needs the extra 'react'"),
        ("kill", AgentState.FAILED, "crash loop"),
    ],
)
def test_nothing_stands_in_the_way_of_what_comes_about(word: str, state: AgentState, reason: str | None) -> None:
    outcome = Command.read({"action": word}, "ada").accepted(view(state=state, state_reason=reason))
    assert outcome == Outcome(f"{word.capitalize()} accepted", f"The agent is {state.value}.", refused=False)


def test_a_selection_is_told_together_and_an_agent_named_twice_once() -> None:
    world = World(view("a"), view("b"), view("c"))
    outcome = all_of(world, "pause", "a", "b", "a", reason="lunch")
    assert outcome == Outcome("Pause accepted by 2 agents", "", refused=False)
    assert [(act[0], act[3]) for act in world.fleet.acts] == [("a", "lunch"), ("b", "lunch")]


def test_who_refuses_of_a_selection_says_why_and_holds_up_nobody() -> None:
    world = World(view("a"), view("b", AgentState.STOPPED))
    outcome = all_of(world, "stop", "b", "ghost", "a")
    assert outcome.refused and outcome.title == "Stop accepted by 1 agent, refused by 2"
    assert "b is stopped; start it first." in outcome.detail and "no agent 'ghost'" in outcome.detail
    assert [act[0] for act in world.fleet.acts] == ["a"]


def test_every_agent_means_those_that_allow_it() -> None:
    world = World(view("a"), view("b", AgentState.PAUSED), view("c", AgentState.STOPPED), view("d"))
    assert all_of(world, "pause", "*").title == "Pause accepted by 2 agents"
    assert [act[0] for act in world.fleet.acts] == ["a", "d"]


@pytest.mark.parametrize("chosen", [(), ("*",)])
def test_nobody_to_be_told_is_told(chosen: tuple[str, ...]) -> None:
    outcome = all_of(World(view(state=AgentState.STOPPED)), "pause", *chosen)
    assert outcome.refused and outcome.title == "Pause not sent"


def test_a_refusal_of_one_agent_is_the_fleets() -> None:
    world = World(view())
    world.fleet.refusal = StateConflict("It has a port of its own.")
    with pytest.raises(StateConflict):
        asyncio.run(Command.read({"action": "scale", "instances": "2"}, "ada").give(world.fleet, "planner"))
