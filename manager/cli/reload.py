"""`reload`: the running manager takes its config file over."""

from __future__ import annotations

import typer

from manager.cli.differences import difference_lines
from manager.cli.options import AsJson, Url
from manager.cli.output import print_json, print_line
from manager.cli.session import session_of


def reload(context: typer.Context, as_json: AsJson = False, url: Url = None) -> None:
    """Take the changed config over: agents start, drain and restart; a wrong config changes nothing."""
    with session_of(context).connect(url) as manager:
        answer = manager.reload()
        if as_json:
            print_json(answer)
            return
        changes = manager.parse_diff(answer)
    for line in difference_lines(changes):
        print_line(line)
    if not changes.is_empty:
        print_line(f"Reloaded: {changes.summary()}")
