"""`logs`: what agents have written, and with `-f` what they write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from manager.cli.log_lines import new_lines, rendered
from manager.cli.options import AgentsArgument, AsJson, Follow, Url
from manager.cli.output import print_error, print_json_line, print_line
from manager.cli.session import Session, session_of

if TYPE_CHECKING:
    from manager.cli.client import ManagerClient

FOLLOWED_LINES = 1000
POLL_SECONDS = 1.0

Lines = Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the newest lines, of each agent.")]


def logs(
    context: typer.Context,
    ids: AgentsArgument = None,
    lines: Lines = 100,
    follow: Follow = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Print agents' logs: of those named, else of all. JSON is one object per line."""
    session = session_of(context)
    with session.connect(url) as manager:
        chosen = list(dict.fromkeys(ids or []))
        if follow:
            _Follower(manager, chosen, lines, as_json).run(session)
        else:
            _print_once(manager, chosen or _all_ids(manager), lines, as_json)


def _all_ids(manager: ManagerClient) -> list[str]:
    return [view.id for view in manager.views()]


def _print_once(manager: ManagerClient, ids: Sequence[str], count: int, as_json: bool) -> None:
    for agent_id in ids:
        lines = manager.logs(agent_id, count) if count else []
        if as_json:
            print_json_line({"agent_id": agent_id, "lines": lines})
        else:
            _print_lines(agent_id, lines, named=len(ids) > 1)


def _print_lines(agent_id: str, lines: Sequence[str], *, named: bool) -> None:
    for line in lines:
        print_line(f"{agent_id} | {rendered(line)}" if named else rendered(line))


class _Follower:
    """Asks for the newest lines again and again, and prints those that were not there before."""

    def __init__(self, manager: ManagerClient, ids: Sequence[str], count: int, as_json: bool) -> None:
        self._manager = manager
        self._ids = ids
        self._count = count
        self._as_json = as_json
        self._seen: dict[str, list[str]] = {}

    def run(self, session: Session) -> None:
        while True:
            for agent_id in self._ids or _all_ids(self._manager):
                self._print_news(agent_id)
            session.sleep(POLL_SECONDS)

    def _print_news(self, agent_id: str) -> None:
        now = self._manager.logs(agent_id, max(FOLLOWED_LINES, self._count))
        before = self._seen.get(agent_id)
        self._seen[agent_id] = now
        if before is None:
            self._print(agent_id, now[len(now) - self._count :] if self._count < len(now) else now)
            return
        news, gapless = new_lines(before, now)
        if not gapless:
            print_error(f"{agent_id}: lines may be missing here; its log file has them.")
        self._print(agent_id, news)

    def _print(self, agent_id: str, lines: Sequence[str]) -> None:
        if self._as_json:
            for line in lines:
                print_json_line({"agent_id": agent_id, "line": line})
        else:
            _print_lines(agent_id, lines, named=len(self._ids) != 1)
