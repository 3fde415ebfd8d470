"""`logs`: what agents have written, and with `-f` what they write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from manager.cli.following import follow as follow_manager
from manager.cli.log_lines import new_lines, rendered
from manager.cli.options import AgentsArgument, AsJson, Follow, Url
from manager.cli.output import print_error, print_json_line, print_line
from manager.cli.session import session_of

if TYPE_CHECKING:
    from manager.cli.client import ManagerClient

FOLLOWED_LINES = 1000
MOST_LINES = 10_000
"""As many as the manager answers; asked for where fewer leave a gap, as after its restart."""

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
    chosen = list(dict.fromkeys(ids or []))
    if follow:
        follow_manager(session, url, _Follower(chosen, lines, as_json).read)
    with session.connect(url) as manager:
        _print_once(manager, chosen or _all_ids(manager), lines, as_json)


def _all_ids(manager: ManagerClient) -> list[str]:
    return [view.id for view in manager.views()]


def _print_once(manager: ManagerClient, ids: Sequence[str], count: int, as_json: bool) -> None:
    for agent_id in ids:
        log = manager.logs(agent_id, count)
        if as_json:
            print_json_line({"agent_id": agent_id, **log.model_dump(exclude_none=True)})
        else:
            _print_lines(agent_id, log.lines, named=len(ids) > 1)
        if log.note:
            print_error(log.note)


def _print_lines(agent_id: str, lines: Sequence[str], *, named: bool) -> None:
    for line in lines:
        print_line(f"{agent_id} | {rendered(line)}" if named else rendered(line))


class _Follower:
    """Asks for the newest lines again and again, and prints those that were not there before."""

    def __init__(self, ids: Sequence[str], count: int, as_json: bool) -> None:
        self._ids = ids
        self._count = count
        self._as_json = as_json
        self._seen: dict[str, list[str]] = {}
        self._noted: dict[str, str | None] = {}

    def read(self, manager: ManagerClient) -> None:
        """Ask once for each agent."""
        for agent_id in self._ids or _all_ids(manager):
            log = manager.logs(agent_id, max(FOLLOWED_LINES, self._count))
            self._print_news(manager, agent_id, log.lines)
            if log.note and log.note != self._noted.get(agent_id):
                print_error(log.note)
            self._noted[agent_id] = log.note

    def _print_news(self, manager: ManagerClient, agent_id: str, now: list[str]) -> None:
        before = self._seen.get(agent_id)
        if before is None:
            self._seen[agent_id] = now
            self._print(agent_id, now[len(now) - self._count :] if self._count < len(now) else now)
            return
        news, gapless = new_lines(before, now)
        if not gapless:
            now = manager.logs(agent_id, MOST_LINES).lines
            news, gapless = new_lines(before, now)
        if not gapless:
            print_error(f"{agent_id}: lines may be missing here; its log file has them.")
        self._seen[agent_id] = now
        self._print(agent_id, news)

    def _print(self, agent_id: str, lines: Sequence[str]) -> None:
        if self._as_json:
            for line in lines:
                print_json_line({"agent_id": agent_id, "line": line})
        else:
            _print_lines(agent_id, lines, named=len(self._ids) != 1)
