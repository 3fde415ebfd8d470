"""Which rows of the fleet are shown, and in what order: as the page's address says it, for a browser without scripts.

With them `static/fleet.js` does it, by the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from manager.supervision.views import AgentView
from web.figures import Figures
from web.view_models import SORTED_BY, order_of

BY_NAME = "name"
_SORTABLE = frozenset({BY_NAME, *(str(place) for place in range(len(SORTED_BY)))})
# Figures begin with the highest; names, states and pids with the first.
_UP_FIRST = frozenset({BY_NAME, str(SORTED_BY.index("state")), str(SORTED_BY.index("pid"))})


@dataclass(frozen=True)
class Arrangement:
    """`words` and `state` are what a row must have to be shown. `by` is `name` or a place in `SORTED_BY`, as text."""

    words: str = ""
    state: str = ""
    by: str | None = None
    down: bool = False

    @classmethod
    def read(cls, params: Mapping[str, str]) -> Self:
        """From an address: `?q=words&state=failed&sort=7`, `&down=7` for the highest first."""
        by = params.get("down") or params.get("sort")
        known = by if by in _SORTABLE else None
        down = known is not None and "down" in params
        return cls(params.get("q", "").strip(), params.get("state", ""), known, down)

    def shows(self, view: AgentView) -> bool:
        """Whether this agent is one of those that are asked for."""
        if self.state and view.state != self.state:
            return False
        text = f"{view.name} {view.id} {view.state} {view.state_reason or ''}".lower()
        return all(word in text for word in self.words.lower().split())

    def in_order(self, views: Mapping[str, AgentView], figures: Mapping[str, Figures]) -> list[str]:
        """The ids of all of `views`; those without a figure come last."""
        if self.by is None:
            return list(views)
        if self.by == BY_NAME:
            return sorted(views, key=lambda agent_id: views[agent_id].name.lower(), reverse=self.down)
        place = int(self.by)
        numbers = {agent_id: order_of(view, figures[agent_id])[place] for agent_id, view in views.items()}
        known = {agent_id: number for agent_id, number in numbers.items() if number is not None}
        ordered = sorted(known, key=known.__getitem__, reverse=self.down)
        return [*ordered, *(agent_id for agent_id in views if agent_id not in known)]

    def next_step(self, by: str) -> str | None:
        """What a press on that column asks for: to `sort` by it, `down` from the highest, or None for no order."""
        first, second = ("sort", "down") if by in _UP_FIRST else ("down", "sort")
        if self.by != by:
            return first
        return second if self.down is (first == "down") else None
