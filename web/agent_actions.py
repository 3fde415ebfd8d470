"""What a person may do with an agent now: the buttons in its row, and all of it in its menu and on its page."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from agent_service.plurals import count_text
from manager.supervision.states import AgentAction, AgentState, DesiredState
from manager.supervision.views import AgentView

RECREATE = "recreate"
"""The word of a button, not of the API: a restart with the strategy `recreate`."""
SCALE = "scale"
MAX_INSTANCES = 64


@dataclass(frozen=True)
class Button:
    """One action that the state allows now."""

    action: str
    label: str
    hint: str


@dataclass(frozen=True)
class AgentActions:
    """Everything that may be done with one agent. `kill` and `scale_from` are None where that is not to be had."""

    id: str
    name: str
    buttons: tuple[Button, ...]
    kill: str | None
    """What a kill does, and what it loses."""
    scale_from: int | None
    """How many instances are wanted now."""


_HINTS = {
    AgentAction.START: "Start a process for this agent.",
    AgentAction.PAUSE: "Refuse new work; work in flight finishes.",
    AgentAction.RESUME: "Take new work again.",
    AgentAction.STOP: "Refuse new work, finish what is in flight, then exit.",
    AgentAction.RESTART: "Replace the process by one that runs the code on disk; work in flight finishes.",
    AgentAction.KILL: "End the process at once; the agent stays stopped.",
}
_STOP_NOW = Button(
    AgentAction.STOP.value, "Stop now", "End the drain at once: tasks that are still in flight are cancelled."
)
_RECREATE = Button(
    RECREATE, "Restart, old one first", "End the process before its successor starts; work waits meanwhile."
)
BULK_BUTTONS = tuple(
    Button(action.value, action.value.capitalize(), hint)
    for action, hint in _HINTS.items()
    if action is not AgentAction.KILL
)
"""What a selection of agents can be told at once; the kill stands apart."""
_LABELS = {RECREATE: "Restart", SCALE: "Scale"}


def action_label(word: str) -> str:
    """What an outcome calls the action."""
    return _LABELS.get(word, word.capitalize())


def row_buttons(view: AgentView) -> tuple[Button, ...]:
    """What stands in the row; a kill stands apart, in the menu."""
    # Of a drain that a restart brought about, or in an agent from elsewhere, a stop does not make short work.
    asked_before = view.state is AgentState.STOPPING and view.desired_state is DesiredState.STOPPED
    return _buttons(tuple(view.actions), asked_before and view.managed)


def agent_actions(view: AgentView) -> AgentActions:
    """What stands in the menu."""
    recreate = (_RECREATE,) if AgentAction.RESTART in view.actions and view.managed else ()
    return AgentActions(
        id=view.id,
        name=view.name,
        buttons=row_buttons(view) + recreate,
        kill=_kill_sentence(view) if AgentAction.KILL in view.actions else None,
        scale_from=view.instances_wanted if view.managed and not view.sidecar else None,
    )


# A fleet has few different ones, and each row asks for its own at each change.
@lru_cache(maxsize=64)
def _buttons(actions: tuple[AgentAction, ...], stops_now: bool) -> tuple[Button, ...]:
    return tuple(
        _STOP_NOW if stops_now and action is AgentAction.STOP else _button(action)
        for action in actions
        if action is not AgentAction.KILL
    )


def _button(action: AgentAction) -> Button:
    return Button(action.value, action_label(action.value), _HINTS[action])


def _kill_sentence(view: AgentView) -> str:
    several = len(view.instances) > 1
    who = f"All {len(view.instances)} processes of {view.name} end" if several else f"The process of {view.name} ends"
    tasks = view.in_flight + view.queued
    lost = f", and {count_text(tasks, 'unfinished task')} will be lost" if tasks else ""
    return f"{who} at once{lost}. The agent stays stopped until somebody starts it. To let work finish, use Stop."
