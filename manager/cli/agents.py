"""`ps` and `status`: what the agents are and how they are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import typer

from manager.cli.events import event_line
from manager.cli.goals import progress, why
from manager.cli.options import AgentArgument, AsJson, Url
from manager.cli.output import duration, make_console, print_json, print_line, printable
from manager.cli.session import session_of
from manager.supervision.states import AgentState

if TYPE_CHECKING:
    from rich.text import Text

    from manager.supervision.views import AgentDetail, AgentView

STYLES = {
    AgentState.RUNNING: "green",
    AgentState.STARTING: "cyan",
    AgentState.PAUSED: "yellow",
    AgentState.STOPPING: "yellow",
    AgentState.STOPPED: "dim",
    AgentState.BACKOFF: "red",
    AgentState.FAILED: "bold red",
    AgentState.UNRESPONSIVE: "red",
    AgentState.LOST: "red",
}
_TITLES = ("ID", "STATE", "READY", "PID", "PORT", "UPTIME", "RESTARTS", "IN FLIGHT", "LAST EXIT / WHY")
_FIGURES = frozenset({"PID", "PORT", "UPTIME", "RESTARTS", "IN FLIGHT"})
_GAP = "  "
_NO_VALUE = "-"


def ps(context: typer.Context, as_json: AsJson = False, url: Url = None) -> None:
    """List the agents."""
    session = session_of(context)
    with session.connect(url) as manager:
        rows = manager.agents()
        if as_json:
            print_json({"agents": rows})
            return
        views = manager.parse_views(rows)
    if not views:
        print_line("No agents.")
        return
    console = make_console()
    for line in _table(views, session.clock.now()):
        console.print(line, soft_wrap=True)


def status(context: typer.Context, agent: AgentArgument, as_json: AsJson = False, url: Url = None) -> None:
    """Show one agent, its settings and its newest events."""
    session = session_of(context)
    with session.connect(url) as manager:
        answer = manager.agent(agent)
        if as_json:
            print_json(answer)
            return
        detail = manager.parse_detail(answer)
        newest = manager.parse_events(detail.events)
    _print_detail(detail, session.clock.now())
    if newest:
        print_line("\nNewest events:")
    for event in reversed(newest):
        print_line(f"  {event_line(event)}")


def _table(views: list[AgentView], now: datetime) -> list[Text]:
    """A line per agent, which a narrow terminal wraps where it likes: nothing is cut off, and nothing padded."""
    from rich.text import Text

    rows = [_cells(view, now) for view in views]
    widths = [max(len(cell) for cell in column) for column in zip(_TITLES, *rows, strict=True)]
    lines = [Text(_row(_TITLES, widths), style="bold")]
    for view, cells in zip(views, rows, strict=True):
        line = Text(_row(cells, widths))
        state_starts = widths[0] + len(_GAP)
        line.stylize(STYLES[view.state], state_starts, state_starts + len(view.state))
        lines.append(line)
    return lines


def _row(cells: Sequence[str], widths: list[int]) -> str:
    columns = zip(_TITLES, cells, widths, strict=True)
    padded = (cell.rjust(width) if title in _FIGURES else cell.ljust(width) for title, cell, width in columns)
    return _GAP.join(padded).rstrip()


def _cells(view: AgentView, now: datetime) -> tuple[str, ...]:
    return (
        view.id,
        view.state,
        "yes" if view.ready else "no",
        _text(view.pid),
        _text(view.port),
        _uptime(view, now),
        str(view.restarts),
        str(view.in_flight),
        printable(" ".join(why(view).split())) or _NO_VALUE,
    )


def _print_detail(detail: AgentDetail, now: datetime) -> None:
    facts = {
        "id": detail.id,
        "name": detail.name,
        "description": detail.description,
        "state": progress(detail, now),
        "wanted": str(detail.desired_state),
        "why": why(detail),
        "ready": "yes" if detail.ready else "no",
        "entry point": detail.entry_point or "",
        "url": detail.service_url or "",
        "pid": _text(detail.pid),
        "uptime": _uptime(detail, now),
        "restarts": str(detail.restarts),
        "tasks": f"{detail.in_flight} in flight, {detail.queued} queued, "
        f"{detail.tasks_total} done, {detail.tasks_failed} failed",
        "allowed now": ", ".join(detail.actions),
    }
    for name, value in facts.items():
        print_line(f"{name + ':':<13} {printable(value) or _NO_VALUE}")


def _uptime(view: AgentView, now: datetime) -> str:
    if view.started_at is None or view.pid is None:
        return _NO_VALUE
    return duration((now - view.started_at).total_seconds())


def _text(value: int | None) -> str:
    return _NO_VALUE if value is None else str(value)
