"""`ps` and `status`: what the agents are and how they are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import typer

from manager.cli.events import event_line
from manager.cli.goals import draining, progress, ready_count, why
from manager.cli.options import AgentArgument, AsJson, Url
from manager.cli.output import duration, local_time, make_console, print_json, print_line, printable
from manager.cli.session import session_of
from manager.supervision.states import AgentState

if TYPE_CHECKING:
    from rich.text import Text

    from manager.supervision.views import AgentDetail, AgentView, InstanceView

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
_TITLES = ("ID", "KIND", "STATE", "READY", "PID", "PORT", "UPTIME", "RESTARTS", "IN FLIGHT", "LAST EXIT / WHY")
_INSTANCE_TITLES = ("INSTANCE", "STATE", "PID", "URL", "UPTIME", "IN FLIGHT", "CPU", "MEMORY")
_FIGURES = frozenset({"PID", "PORT", "UPTIME", "RESTARTS", "IN FLIGHT", "CPU", "MEMORY"})
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
    if detail.instances:
        print_line("\nInstances:")
    for line in _instance_lines(detail, session.clock.now()):
        print_line(f"  {line}")
    if newest:
        print_line("\nNewest events:")
    for event in reversed(newest):
        print_line(f"  {event_line(event)}")


def _table(views: list[AgentView], now: datetime) -> list[Text]:
    """A line per agent, which a narrow terminal wraps where it likes: nothing is cut off, and nothing padded."""
    from rich.text import Text

    rows = [_cells(view, now) for view in views]
    widths = _widths(_TITLES, rows)
    lines = [Text(_row(_TITLES, _TITLES, widths), style="bold")]
    for view, cells in zip(views, rows, strict=True):
        line = Text(_row(_TITLES, cells, widths))
        state_starts = sum(widths[:2]) + 2 * len(_GAP)
        line.stylize(STYLES[view.state], state_starts, state_starts + len(view.state))
        lines.append(line)
    return lines


def _widths(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(cell) for cell in column) for column in zip(titles, *rows, strict=True)]


def _row(titles: Sequence[str], cells: Sequence[str], widths: list[int]) -> str:
    columns = zip(titles, cells, widths, strict=True)
    padded = (cell.rjust(width) if title in _FIGURES else cell.ljust(width) for title, cell, width in columns)
    return _GAP.join(padded).rstrip()


def _cells(view: AgentView, now: datetime) -> tuple[str, ...]:
    return (
        view.id,
        _kind(view),
        view.state,
        _ready(view),
        _text(view.pid),
        _text(view.port),
        _uptime(view, now),
        str(view.restarts),
        str(view.in_flight),
        printable(" ".join(_remark(view, now).split())) or _NO_VALUE,
    )


def _kind(view: AgentView) -> str:
    return "sidecar" if view.sidecar else "agent" if view.managed else "outside"


def _remark(view: AgentView, now: datetime) -> str:
    """What the agent is doing while it stops, else why it is as it is, else how its last process ended."""
    if view.state is AgentState.STOPPING:
        return "; ".join(filter(None, (draining(view, now), why(view))))
    return why(view) or _last_exit(view)


def _print_detail(detail: AgentDetail, now: datetime) -> None:
    facts = {
        "id": detail.id,
        "name": detail.name,
        "description": detail.description,
        "kind": _kind(detail),
        "state": progress(detail, now),
        "wanted": str(detail.desired_state),
        "why": why(detail),
        "last exit": _dated_exit(detail),
        "ready": _ready(detail),
        "entry point": detail.entry_point or "",
        "url": detail.service_url or "",
        "pid": _text(detail.pid),
        "uptime": _uptime(detail, now),
        "restarts": str(detail.restarts),
        "tasks": f"{detail.in_flight} in flight, {detail.queued} queued, "
        f"{detail.tasks_total} done, {detail.tasks_failed} of them failed",
        "allowed now": ", ".join(detail.actions),
    }
    for name, value in facts.items():
        print_line(f"{name + ':':<13} {printable(value) or _NO_VALUE}")


def _instance_lines(detail: AgentDetail, now: datetime) -> list[str]:
    rows = [_instance_cells(instance, now) for instance in detail.instances]
    widths = _widths(_INSTANCE_TITLES, rows)
    return [_row(_INSTANCE_TITLES, cells, widths) for cells in (_INSTANCE_TITLES, *rows)] if rows else []


def _instance_cells(instance: InstanceView, now: datetime) -> tuple[str, ...]:
    state = "draining" if instance.draining else "ready" if instance.ready else "not ready"
    return (
        instance.instance_id,
        state,
        _text(instance.pid),
        instance.service_url or _NO_VALUE,
        _age(instance.started_at, now),
        str(instance.in_flight),
        _NO_VALUE if instance.cpu_percent is None else f"{instance.cpu_percent:.1f} %",
        _NO_VALUE if instance.rss_bytes is None else f"{instance.rss_bytes / 2**20:.1f} MiB",
    )


def _ready(view: AgentView) -> str:
    """`2/3`: the instances that take requests, of those wanted."""
    return f"{ready_count(view)}/{view.instances_wanted}"


def _last_exit(view: AgentView) -> str:
    return view.last_exit.reason if view.last_exit else ""


def _dated_exit(view: AgentView) -> str:
    """The last exit and its time, where `why` does not tell it already."""
    reason = _last_exit(view)
    if view.last_exit is None or reason in why(view):
        return ""
    return f"{reason}, {local_time(view.last_exit.at)}"


def _uptime(view: AgentView, now: datetime) -> str:
    """That of the oldest process: since then the agent has been there without a break."""
    if view.pid is None:
        return _NO_VALUE
    started = [instance.started_at for instance in view.instances if instance.started_at is not None]
    return _age(min(started, default=view.started_at), now)


def _age(since: datetime | None, now: datetime) -> str:
    return _NO_VALUE if since is None else duration((now - since).total_seconds())


def _text(value: int | None) -> str:
    return _NO_VALUE if value is None else str(value)
