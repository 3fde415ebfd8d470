"""`events`: what has happened, and with `-f` what happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from manager.cli.following import follow as follow_manager
from manager.cli.options import AsJson, Follow, Url
from manager.cli.output import local_time, print_json, print_json_line, print_line, printable
from manager.cli.session import session_of

if TYPE_CHECKING:
    from manager.cli.client import JsonObject, ManagerClient
    from manager.events import Event

Agent = Annotated[str | None, typer.Option("--agent", metavar="ID", help="Only this agent's.", show_default=False)]
Count = Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the newest events.")]


def events(
    context: typer.Context,
    agent: Agent = None,
    lines: Count = 50,
    follow: Follow = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Print the agents' history."""
    session = session_of(context)
    if follow:
        follow_manager(session, url, _Follower(agent, lines, as_json).read)
    with session.connect(url) as manager:
        newest = manager.events(agent_id=agent, limit=lines)
        if as_json:
            print_json({"events": newest})
        else:
            _print(manager, newest, as_json=False)


class _Follower:
    """Prints the newest `count` events, then what comes, each event once over any number of connections."""

    def __init__(self, agent_id: str | None, count: int, as_json: bool) -> None:
        self._agent_id = agent_id
        self._count = count
        self._as_json = as_json
        self._last_id: int | None = None

    def read(self, manager: ManagerClient) -> None:
        """One stream to its end; the manager ends that of a reader that fell behind, and every one when it stops."""
        if self._last_id is None:
            newest = manager.events(agent_id=self._agent_id, limit=self._count)
            self._last_id = _print(manager, newest, as_json=self._as_json)
        for event in manager.event_stream(agent_id=self._agent_id, after=self._last_id):
            self._last_id = _print(manager, [event], as_json=self._as_json)


def _print(manager: ManagerClient, rows: list[JsonObject], *, as_json: bool) -> int:
    """Print each and return the last one's id, 0 when there is none."""
    events = manager.parse_events(rows)
    for row, event in zip(rows, events, strict=True):
        print_json_line(row) if as_json else print_line(event_line(event))
    return events[-1].id if events else 0


def event_line(event: Event) -> str:
    """`2026-01-02 12:00:01  planner  cli asked planner to stop (because: …)`."""
    actor = None if event.actor and event.actor in event.message else event.actor
    asked = [f"{word} {text}" for word, text in (("by", actor), ("because:", event.reason)) if text]
    suffix = f" ({', '.join(asked)})" if asked else ""
    return printable(f"{local_time(event.at)}  {event.agent_id or 'manager':<16} {event.message}{suffix}")
