"""What a form of the dashboard asks the fleet to do, and what became of it in words."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent_service.plurals import count_text
from manager.errors import BadRequest, ManagerError
from manager.supervision.fleet import Fleet
from manager.supervision.states import AgentAction, AgentState, Strategy
from manager.supervision.views import AgentView
from web.agent_actions import MAX_INSTANCES, RECREATE, SCALE, action_label
from web.rendering import Outcome

MAX_REASON_LENGTH = 500
EVERY_AGENT = "*"
# After these actions each of those states is what was asked for, or on its way there.
_ENDING = (AgentAction.STOP, AgentAction.KILL)
_HELD_UP = (
    AgentState.STOPPED,
    AgentState.BACKOFF,
    AgentState.FAILED,
    AgentState.UNRESPONSIVE,
    AgentState.LOST,
)
_WORDS = (*(action.value for action in AgentAction), RECREATE, SCALE)


@dataclass(frozen=True)
class Command:
    """One button's word with what was typed beside it, and who pressed it. `instances` is for scale alone."""

    word: str
    actor: str
    reason: str | None = None
    instances: int | None = None

    @property
    def label(self) -> str:
        """What an outcome calls it."""
        return action_label(self.word)

    @property
    def action(self) -> AgentAction | None:
        """The action of the states' table; None for scale, which is in none."""
        if self.word == SCALE:
            return None
        return AgentAction.RESTART if self.word == RECREATE else AgentAction(self.word)

    @classmethod
    def read(cls, fields: Mapping[str, str], actor: str) -> Command:
        """From a form. Raises `BadRequest`."""
        word = fields.get("action", "")
        if word not in _WORDS:
            raise BadRequest(f"Unknown action {word!r}; use one of {', '.join(_WORDS)}.")
        reason = fields.get("reason", "").strip() or None
        if reason is not None and len(reason) > MAX_REASON_LENGTH:
            raise BadRequest(f"Shorten the reason to {MAX_REASON_LENGTH} characters.")
        return cls(word, actor, reason, _instances(fields) if word == SCALE else None)

    async def give(self, fleet: Fleet, agent_id: str) -> AgentView:
        """Do it to one agent. Raises what the fleet raises."""
        action = self.action
        if action is None or self.instances is not None:
            return await fleet.scale(agent_id, self.instances or 1, actor=self.actor, reason=self.reason)
        strategy = Strategy.RECREATE if self.word == RECREATE else None
        return await fleet.act(agent_id, action, actor=self.actor, reason=self.reason, strategy=strategy)

    def accepted(self, view: AgentView) -> Outcome:
        """What the row says afterwards."""
        if self.instances is not None:
            wanted = count_text(view.instances_wanted, "instance")
            return Outcome(f"{self.label} accepted", f"{wanted} wanted.", refused=False)
        title, state = f"{self.label} accepted", f"The agent is {view.state.value}"
        if view.state_reason and view.state in _HELD_UP and self.action not in _ENDING:
            return Outcome(title, f"{state}: {view.state_reason}", refused=False, held_up=True)
        return Outcome(title, f"{state}.", refused=False)


async def give_all(command: Command, fleet: Fleet, agent_ids: Iterable[str]) -> Outcome:
    """Do it to several agents at once; who refused says why."""
    ids = _allowing(command, fleet) if EVERY_AGENT in (chosen := list(dict.fromkeys(agent_ids))) else chosen
    answers = await asyncio.gather(*(_told(command, fleet, agent_id) for agent_id in ids))
    refusals = [answer for answer in answers if answer is not None]
    accepted = len(answers) - len(refusals)
    if not answers:
        return Outcome(f"{command.label} not sent", "No agent is selected, or none allows it now.", refused=True)
    title = f"{command.label} accepted by {count_text(accepted, 'agent')}"
    if not refusals:
        return Outcome(title, "", refused=False)
    return Outcome(f"{title}, refused by {len(refusals)}", " ".join(refusals), refused=True)


def _allowing(command: Command, fleet: Fleet) -> list[str]:
    return [view.id for view in fleet.agents() if command.action in view.actions]


async def _told(command: Command, fleet: Fleet, agent_id: str) -> str | None:
    try:
        await command.give(fleet, agent_id)
    except ManagerError as error:
        return error.detail
    return None


def _instances(fields: Mapping[str, str]) -> int:
    text = fields.get("instances", "").strip()
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= MAX_INSTANCES):
        raise BadRequest(f"Give the number of instances as a whole number from 1 to {MAX_INSTANCES}.")
    return int(text)
