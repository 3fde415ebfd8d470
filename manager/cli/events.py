"""`events`: what has happened, and with `-f` what happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from manager.cli.following import follow as follow_manager
from manager.cli.options import AsJson, Follow, Url
from manager.cli.output import local_time, print_json, print_json_line, print_line, printable
from manager.cli.session import session_of
from manager.moments import WRITTEN

if TYPE_CHECKING:
    from manager.cli.client import ManagerClient
    from manager.events import Event

Agent = Annotated[str | None, typer.Option("--agent", metavar="ID", help="Only this agent's.", show_default=False)]
Kinds = Annotated[
    list[str] | None,
    typer.Option(
        "--kind", metavar="KIND", help="Only of this kind, or into this state; may be repeated.", show_default=False
    ),
]
Actor = Annotated[str | None, typer.Option("--actor", metavar="NAME", help="Only what NAME asked.", show_default=False)]
Text = Annotated[
    str | None, typer.Option("--text", metavar="TEXT", help="Only with this in message or reason.", show_default=False)
]
Since = Annotated[
    str | None, typer.Option("--since", metavar="WHEN", help=f"Only from then on: {WRITTEN}.", show_default=False)
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="WHEN", help=f"Only before then: {WRITTEN}.", show_default=False)
]
Count = Annotated[int, typer.Option("--lines", "-n", min=1, max=1000, help="How many of the newest events.")]


def events(
    context: typer.Context,
    agent: Agent = None,
    kind: Kinds = None,
    actor: Actor = None,
    text: Text = None,
    since: Since = None,
    until: Until = None,
    lines: Count = 50,
    follow: Follow = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Print the agents' history."""
    session = session_of(context)
    asked = {"agent": agent, "kind": kind or None, "actor": actor, "text": text, "since": since, "until": until}
    if follow:
        follow_manager(session, url, _Follower(asked, lines, as_json).read)
    with session.connect(url) as manager:
        answer = manager.events(asked, limit=lines)
        if as_json:
            print_json(answer)
        else:
            _print(manager.parse_events(answer.get("events")))


class _Follower:
    """Prints the newest `count` events, then what comes, each event once over any number of connections."""

    def __init__(self, asked: dict[str, Any], count: int, as_json: bool) -> None:
        self._asked = asked
        self._count = count
        self._as_json = as_json
        self._last_id: int | None = None

    def read(self, manager: ManagerClient) -> None:
        """One stream to its end; the manager ends that of a reader that fell behind, and every one when it stops."""
        if self._last_id is None:
            newest = manager.events(self._asked, limit=self._count).get("events")
            self._last_id = self._show(manager, newest)
        for event in manager.event_stream(self._asked, after=self._last_id):
            self._last_id = self._show(manager, [event])

    def _show(self, manager: ManagerClient, rows: Any) -> int:
        """Print each and return the last one's id, 0 when there is none."""
        events = manager.parse_events(rows)
        if not self._as_json:
            _print(events)
        else:
            for row in rows:
                print_json_line(row)
        return events[-1].id if events else 0


def _print(events: list[Event]) -> None:
    for event in events:
        print_line(event_line(event))


def event_line(event: Event) -> str:
    """`2026-01-02 12:00:01  planner  cli asked planner to stop (because: …)`."""
    actor = None if event.actor and event.actor in event.message else event.actor
    asked = [f"{word} {text}" for word, text in (("by", actor), ("because:", event.reason)) if text]
    suffix = f" ({', '.join(asked)})" if asked else ""
    return printable(f"{local_time(event.at)}  {event.agent_id or 'manager':<16} {event.message}{suffix}")
