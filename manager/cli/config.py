"""`config check`: whether a config can be used, and what is wrong with it; `config diff`: what a reload would do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent_service.plurals import count_text
from manager.cli.differences import difference_lines
from manager.cli.options import AsJson, Url
from manager.cli.output import print_error, print_json, print_line
from manager.cli.session import Session, session_of
from manager.cli.target import require_config, shown
from manager.errors import ConfigError, ConfigIssue

ConfigArgument = Annotated[
    Path | None,
    typer.Argument(metavar="PATH", help="Else config/agents.config.json, else agents.config.json.", show_default=False),
]


def check(context: typer.Context, path: ConfigArgument = None, as_json: AsJson = False) -> None:
    """Check a config without starting anything."""
    session = session_of(context)
    config = require_config(path, session.directory)
    agents, issues = _inspect(config, session)
    if as_json:
        found = [{"path": issue.path, "found": issue.found, "allowed": issue.allowed} for issue in issues]
        print_json({"ok": not issues, "issues": found})
    elif issues:
        print_error(f"{shown(config, session.directory)}: {count_text(len(issues), 'error')}")
        for issue in issues:
            print_error(f"  {issue}")
    else:
        print_line(f"{shown(config, session.directory)}: {count_text(agents, 'agent')}, OK")
    if issues:
        raise typer.Exit(1)


def diff(context: typer.Context, as_json: AsJson = False, url: Url = None) -> None:
    """Show what a reload would change in the running manager, and change nothing."""
    with session_of(context).connect(url) as manager:
        answer = manager.config_diff()
        if as_json:
            print_json(answer)
            return
        changes = manager.parse_diff(answer)
    for line in difference_lines(changes):
        print_line(line)


def _inspect(config: Path, session: Session) -> tuple[int, list[ConfigIssue]]:
    from manager.specs.loading import load_config

    try:
        return len(load_config(config, environ=session.environ).agents), []
    except ConfigError as error:
        return 0, error.issues
