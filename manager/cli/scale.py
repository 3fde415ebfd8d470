"""`scale`: how many processes serve an agent."""

from __future__ import annotations

from typing import Annotated

import typer

from manager.cli.actions import Reason
from manager.cli.options import AsJson, Url
from manager.cli.output import print_json, print_line
from manager.cli.session import session_of

Agent = Annotated[str, typer.Argument(metavar="ID", help="The agent.", show_default=False)]
Instances = Annotated[int, typer.Argument(metavar="N", min=1, max=64, help="How many instances.", show_default=False)]


def scale(
    context: typer.Context,
    agent_id: Agent,
    instances: Instances,
    reason: Reason = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Run so many instances of an agent; returns when the manager has taken the order."""
    with session_of(context).connect(url) as manager:
        row = manager.scale(agent_id, instances, reason=reason)
    if as_json:
        print_json(row)
    else:
        print_line(f"{agent_id}: {instances} wanted, {len(row['instances'])} there now")
