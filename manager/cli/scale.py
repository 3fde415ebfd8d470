"""`scale`: how many processes serve an agent."""

from __future__ import annotations

from typing import Annotated

import typer

from manager.cli.actions import Reason, Wait
from manager.cli.goals import Outcome, ScaleGoal
from manager.cli.options import AsJson, Url
from manager.cli.output import print_error, print_json, print_line
from manager.cli.session import session_of
from manager.cli.waiting import Work, wait

Agent = Annotated[str, typer.Argument(metavar="ID", help="The agent.", show_default=False)]
Instances = Annotated[int, typer.Argument(metavar="N", min=1, max=64, help="How many instances.", show_default=False)]


def scale(
    context: typer.Context,
    agent_id: Agent,
    instances: Instances,
    reason: Reason = None,
    waits: Wait = True,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Run so many instances of an agent."""
    session = session_of(context)
    work = Work(goals={agent_id: ScaleGoal(agent_id, instances)})
    with session.connect(url) as manager:
        row = manager.scale(agent_id, instances, reason=reason)
        if waits:
            wait(manager, session, work)
            row = next((listed for listed in manager.agents() if listed["id"] == agent_id), row)
    asked = Outcome(True, f"{agent_id}: {instances} wanted, {len(row['instances'])} there now")
    outcome = work.outcomes.get(agent_id, asked)
    if as_json:
        print_json(row)
    elif outcome.reached:
        print_line(outcome.sentence)
    if not outcome.reached:
        print_error(outcome.sentence)
        raise typer.Exit(1)
