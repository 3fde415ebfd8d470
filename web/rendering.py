"""View models in, HTML out: the one place where the dashboard's templates are rendered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from web.assets import Assets
from web.navigation import PLACES
from web.view_models import AgentRow, FleetSummary

TEMPLATE_DIRECTORY = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Outcome:
    """What became of a click: a sentence, shown in the row where the click was."""

    title: str
    detail: str
    refused: bool
    held_up: bool = False
    """Whether it was accepted, and yet something known stands in its way."""


@dataclass(frozen=True)
class LiveContext:
    """What the header shows of the fleet, and where the page's event stream goes on from."""

    summary: FleetSummary
    position: str


@dataclass(frozen=True)
class PageContext:
    """What every page knows: when it was made, whether there is a session to end, its place in the navigation.

    `live` is None on a page for somebody who is not signed in: nothing of the fleet is on it.
    """

    now: str
    can_sign_out: bool
    place: str = ""
    live: LiveContext | None = None


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
        self._environment.globals.update(asset=Assets().url, places=PLACES, version=version)

    def sign_in(self, page: PageContext, *, refusal: str | None) -> Markup:
        """The form that asks for the token, and why the last one was not taken."""
        return self.render("sign_in.html", page=page, refusal=refusal)

    def sign_in_again(self) -> Markup:
        """What a fragment's place says once the session has ended."""
        return self.render("sign_in_again.html")

    def message_page(self, page: PageContext, outcome: Outcome) -> Markup:
        """A page with one sentence on it."""
        return self.render("message.html", page=page, outcome=outcome)

    def row(self, row: AgentRow, outcome: Outcome | None = None) -> Markup:
        """An agent's row, and what a click on it came to."""
        return self.render("row.html", row=row, outcome=outcome)

    def summary(self, summary: FleetSummary) -> Markup:
        """The header's sentence."""
        return self.render("summary.html", summary=summary)

    def title(self, summary: FleetSummary) -> Markup:
        """The page's title: what a person sees of a tab that is not in front."""
        return self.render("title.html", summary=summary)

    def outcome(self, outcome: Outcome) -> Markup:
        """What became of a click."""
        return self.render("outcome.html", outcome=outcome)

    def partial(self, target: str, content: Markup, *, outer: bool = False) -> Markup:
        """`content` addressed to the element with id `target`, which it morphs or, `outer`, morphs the inside of."""
        return self.render("partial.html", target=target, content=content, swap="outerMorph" if outer else "innerMorph")

    def render(self, name: str, **context: object) -> Markup:
        """What the template `name` makes of `context`; one of a page takes a `page`."""
        return Markup(self._environment.get_template(name).render(context))
