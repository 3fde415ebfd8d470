"""`tracing`: what of an agent is traced."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from manager.cli.options import AsJson, Url
from manager.cli.output import local_time, print_json, print_line
from manager.cli.session import session_of


class Switch(StrEnum):
    """`default`: as the agent's definition says."""

    ON = "on"
    OFF = "off"
    DEFAULT = "default"


Agent = Annotated[str, typer.Argument(metavar="ID", help="The agent.", show_default=False)]
Turned = Annotated[
    Switch | None,
    typer.Argument(
        metavar="[on|off|default]",
        help="Trace it, do not, or do as its definition says; without, show what is traced.",
        show_default=False,
    ),
]
SampleRate = Annotated[
    float | None,
    typer.Option(
        "--sample-rate",
        metavar="SHARE",
        min=0,
        max=1,
        help="What share of its requests, 0 to 1.",
        show_default=False,
    ),
]


def tracing(
    context: typer.Context,
    agent_id: Agent,
    turned: Turned = None,
    sample_rate: SampleRate = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Show or set what of an agent is traced, until it is set back to `default`."""
    if turned is Switch.DEFAULT and sample_rate is not None:
        raise typer.BadParameter("it is the definition's with default; leave it out", param_hint="--sample-rate")
    with session_of(context).connect(url) as manager:
        if turned is Switch.DEFAULT:
            row = manager.reset_tracing(agent_id)
        elif turned is None and sample_rate is None:
            row = manager.tracing(agent_id)
        else:
            row = manager.set_tracing(agent_id, None if turned is None else turned is Switch.ON, sample_rate)
    if as_json:
        print_json(row)
    else:
        print_line(_sentence(row))


def _sentence(row: dict[str, Any]) -> str:
    if not row["exporting"]:
        return f"{row['id']} is not traced: the manager has no endpoint to send traces to"
    by = "by its definition"
    if row["overridden"]:
        by = f"set by {row['set_by']}, {local_time(datetime.fromisoformat(row['set_at']))}"
    if not row["enabled"]:
        return f"{row['id']} is not traced ({by})"
    return f"{row['id']} is traced: {row['sample_rate']:.4g} of the requests that begin here ({by})"
