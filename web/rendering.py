"""View models in, HTML out: the one place where the dashboard's templates are rendered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from web.assets import Assets
from web.event_rows import EventRow
from web.log_lines import LogLine
from web.view_models import AgentRow, FleetSummary

TEMPLATE_DIRECTORY = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Outcome:
    """What became of a click: a sentence, shown in the row where the click was."""

    title: str
    detail: str
    refused: bool


@dataclass(frozen=True)
class AgentItem:
    """An agent in the fleet list: its live part, already rendered, and what a click on it came to."""

    id: str
    name: str
    live: Markup
    outcome: Outcome | None = None


@dataclass(frozen=True)
class PageContext:
    """What every page of the dashboard knows: the time it was made, and whether there is a session to end."""

    now: str
    can_sign_out: bool


class Renderer:
    """Holds the compiled templates; an undefined name in one of them is an error, never an empty text."""

    def __init__(self, version: str) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATE_DIRECTORY),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals.update(asset=Assets().url, version=version)

    def dashboard(
        self,
        page: PageContext,
        *,
        position: str,
        summary: FleetSummary,
        agents: Sequence[AgentItem],
        events: Sequence[EventRow],
    ) -> Markup:
        """The whole page; live updates go on from `position`."""
        return self._render(
            "dashboard.html", page=page, position=position, summary=summary, agents=agents, events=events
        )

    def sign_in(self, page: PageContext, *, refusal: str | None) -> Markup:
        """The form that asks for the token, and why the last one was not taken."""
        return self._render("sign_in.html", page=page, refusal=refusal)

    def sign_in_again(self) -> Markup:
        """What a fragment's place says once the session has ended."""
        return self._render("sign_in_again.html")

    def logs_page(self, page: PageContext, *, agent_id: str, lines: Sequence[LogLine]) -> Markup:
        """An agent's newest log lines as a page of their own, for browsers without JavaScript."""
        return self._render("logs.html", page=page, agent_id=agent_id, lines=lines)

    def message_page(self, page: PageContext, outcome: Outcome) -> Markup:
        """A page with one sentence on it."""
        return self._render("message.html", page=page, outcome=outcome)

    def live(self, row: AgentRow) -> Markup:
        """The part of an agent's row that changes while one looks at it."""
        return self._render("agent_live.html", row=row)

    def agents(self, agents: Sequence[AgentItem]) -> Markup:
        """The fleet list."""
        return self._render("agents.html", agents=agents)

    def summary(self, summary: FleetSummary) -> Markup:
        """The header's sentence."""
        return self._render("summary.html", summary=summary)

    def title(self, summary: FleetSummary) -> Markup:
        """The page's title: what a person sees of a tab that is not in front."""
        return self._render("title.html", summary=summary)

    def events(self, events: Sequence[EventRow]) -> Markup:
        """The history, newest first."""
        return self._render("events.html", events=events)

    def log_lines(self, lines: Sequence[LogLine]) -> Markup:
        """The lines of one agent's log, oldest first."""
        return self._render("log_lines.html", lines=lines)

    def outcome(self, outcome: Outcome) -> Markup:
        """What became of a click."""
        return self._render("outcome.html", outcome=outcome)

    def partial(self, target: str, content: Markup, *, outer: bool = False) -> Markup:
        """`content` addressed to the element with id `target`, which it morphs or, `outer`, morphs the inside of."""
        return self._render(
            "partial.html", target=target, content=content, swap="outerMorph" if outer else "innerMorph"
        )

    def _render(self, name: str, **context: object) -> Markup:
        return Markup(self._environment.get_template(name).render(context))
