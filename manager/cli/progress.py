"""What a waiting command shows: live lines on a terminal, a line per change when piped. On stderr: it is no result."""

from __future__ import annotations

from datetime import datetime
from types import TracebackType
from typing import Self

from rich.live import Live
from rich.text import Text

from manager.cli.goals import progress, ready_count
from manager.cli.output import make_console, print_error
from manager.supervision.states import AgentState
from manager.supervision.views import AgentView


class Progress:
    """Use it in a `with` block; what it showed on a terminal is gone afterwards."""

    def __init__(self) -> None:
        console = make_console(stderr=True)
        self._live: Live | None = None
        if console.is_terminal:
            self._live = Live(
                console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
            )
        self._said: dict[str, object] = {}

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, views: list[AgentView], now: datetime) -> None:
        """The agents that are still waited for, as they are `now`."""
        lines = {view.id: f"{view.id}: {progress(view, now)}" for view in views}
        if self._live:
            self._live.update(Text("\n".join(lines.values())), refresh=True)
            return
        for view in views:
            # A countdown is no news.
            news = (view.state, view.in_flight, _instances(view))
            if self._said.get(view.id) != news:
                self._said[view.id] = news
                print_error(lines[view.id])


def _instances(view: AgentView) -> tuple[int, int] | None:
    """What `progress` shows of them; those that end while the agent stops, it does not show."""
    return (ready_count(view), len(view.instances)) if view.state is AgentState.RUNNING else None
