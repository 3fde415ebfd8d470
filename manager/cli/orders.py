"""Carries out what `start`, `stop` and their like were asked: asks for each agent, then waits until it is so."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from manager.cli.goals import Goal, Outcome
from manager.cli.output import print_error, print_json, print_line
from manager.cli.session import Session
from manager.cli.waiting import Work, wait
from manager.supervision.states import HARMLESS, NEEDS_PROCESS, AgentAction, Strategy

if TYPE_CHECKING:
    from manager.cli.client import ManagerClient
    from manager.supervision.views import AgentView


@dataclass(frozen=True)
class Order:
    """What was asked for on the command line: an action for `ids`, or for `every` agent."""

    action: AgentAction
    ids: Sequence[str]
    every: bool
    reason: str | None
    wait: bool
    as_json: bool
    timeout_seconds: float | None = None
    strategy: Strategy | None = None


def carry_out(session: Session, url: str | None, order: Order) -> None:
    """Do it and tell what came of it. Raises `typer.Exit` with 1 when an agent refused or missed its goal."""
    if order.every and order.ids:
        raise typer.BadParameter("name the agents' ids or say --all, not both.", param_hint="ID")
    if not order.every and not order.ids:
        raise typer.BadParameter("name the agents' ids, or say --all for every agent.", param_hint="ID")
    with session.connect(url) as manager:
        work = _ask(manager, order)
        if order.wait:
            wait(manager, session, work)
        if order.as_json:
            print_json({"agents": [row for row in manager.agents() if row["id"] in work.goals]})
    _report(order, work)


def _ask(manager: ManagerClient, order: Order) -> Work:
    from manager.cli.client import ManagerUnreachable, RequestFailed

    work = Work()
    before = {view.id: view for view in manager.views()}
    for agent_id in _chosen(order, before.values()) if order.every else dict.fromkeys(order.ids):
        try:
            answer = manager.act(
                agent_id,
                order.action,
                reason=order.reason,
                timeout_seconds=order.timeout_seconds,
                strategy=order.strategy,
            )
        except ManagerUnreachable:
            raise
        except RequestFailed as refusal:
            work.outcomes[agent_id] = Outcome(False, refusal.detail)
        else:
            [accepted] = manager.parse_views([answer])
            work.goals[agent_id] = goal = Goal(order.action, before.get(agent_id, accepted), accepted)
            if not order.wait and goal.doubt:
                print_error(goal.doubt)
    return work


def _chosen(order: Order, views: Collection[AgentView]) -> list[str]:
    allowed = {view.id: _allows(view, order.action) for view in views}
    skipped = [f"{view.id} ({view.state})" for view in views if not allowed[view.id]]
    if skipped:
        print_error(f"Nothing to {order.action}: {', '.join(skipped)}")
    return [agent_id for agent_id, is_allowed in allowed.items() if is_allowed]


def _allows(view: AgentView, action: AgentAction) -> bool:
    harmless = action in HARMLESS[view.state] and (view.managed or action not in NEEDS_PROCESS)
    return action in view.actions or harmless


def _report(order: Order, work: Work) -> None:
    for agent_id in work.goals:
        outcome = work.outcomes.get(agent_id, Outcome(True, f"{agent_id}: {order.action} accepted"))
        if outcome.reached and not order.as_json:
            print_line(outcome.sentence)
    missed = [outcome for outcome in work.outcomes.values() if not outcome.reached]
    for outcome in missed:
        print_error(outcome.sentence)
    if missed:
        raise typer.Exit(1)
