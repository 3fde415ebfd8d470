"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Url = Annotated[str | None, typer.Option("--url", metavar="URL", help="The manager to talk to.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, as the API answers it.")]
AgentArgument = Annotated[str, typer.Argument(metavar="ID", help="The agent's id.", show_default=False)]
AgentsArgument = Annotated[list[str] | None, typer.Argument(metavar="ID", help="The agents' ids.", show_default=False)]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="PATH",
        help="The config file; else config/agents.config.json, else agents.config.json.",
        show_default=False,
    ),
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on printing what comes, until Ctrl-C.")]
