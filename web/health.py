"""The fleet in one look: is anything wrong, what is it, and how much is going on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent_service.plurals import count_text
from manager.supervision.views import AgentView
from web.figures import Figures
from web.texts import bytes_text, percent_text, rate_text, share_text
from web.tones import STATE_TONES, Tone
from web.view_models import states_in_order, trouble_of

TROUBLES_SHOWN = 4


@dataclass(frozen=True)
class Trouble:
    """An agent that wants attention; `reason` may be empty."""

    id: str
    name: str
    state: str
    tone: Tone
    reason: str


@dataclass(frozen=True)
class Health:
    """`verdict` is one sentence; `troubles` are the worst first, `more` how many are not among them."""

    verdict: str
    tone: Tone
    troubles: tuple[Trouble, ...]
    more: int


@dataclass(frozen=True)
class StateCount:
    """How many agents are in a state; a button that shows only those."""

    state: str
    tone: Tone
    count: int


@dataclass(frozen=True)
class Vital:
    """One figure of the whole fleet."""

    name: str
    text: str
    hint: str
    tone: Tone = Tone.IDLE


def fleet_health(views: Sequence[AgentView]) -> Health:
    """Whether anything is wrong."""
    troubled = [(tone, view) for view in views if (tone := trouble_of(view)) is not None]
    troubled.sort(key=lambda each: each[0] is not Tone.BAD)
    shown = tuple(
        Trouble(view.id, view.name, view.state.value, tone, _reason(view)) for tone, view in troubled[:TROUBLES_SHOWN]
    )
    worst = troubled[0][0] if troubled else _calm(views)
    return Health(_verdict(len(troubled), len(views)), worst, shown, len(troubled) - len(shown))


def state_counts(views: Sequence[AgentView]) -> list[StateCount]:
    """Every state, those without an agent too: a filter that is on does not vanish with the last of them."""
    counts = Counter(view.state for view in views)
    return [StateCount(state.value, STATE_TONES[state], counts[state]) for state in states_in_order()]


def fleet_vitals(views: Sequence[AgentView], figures: Mapping[str, Figures]) -> list[Vital]:
    """How much is going on in the whole fleet."""
    rates = [figures[view.id].requests_per_second for view in views]
    failing = sum((figures[view.id].error_ratio or 0.0) * rate for view, rate in zip(views, rates, strict=True))
    errors = failing / sum(rates) if sum(rates) else 0.0
    queued = sum(view.queued for view in views)
    return [
        Vital("In flight", str(sum(view.in_flight for view in views)), "tasks being worked on"),
        Vital("Queued", str(queued), "requests that wait for a place", Tone.WARN if queued else Tone.IDLE),
        Vital("Requests", rate_text(sum(rates)) if sum(rates) else "0", "mean of the last five minutes"),
        Vital("Errors", share_text(errors), "share of those requests", Tone.BAD if errors else Tone.IDLE),
        Vital("CPU", percent_text(sum(view.cpu_percent or 0.0 for view in views)), "all agents; 100 % is one core"),
        Vital("Memory", bytes_text(sum(view.rss_bytes or 0 for view in views)), "resident, all agents"),
    ]


def _calm(views: Sequence[AgentView]) -> Tone:
    tones = {STATE_TONES[view.state] for view in views}
    return next((tone for tone in (Tone.BUSY, Tone.GOOD) if tone in tones), Tone.IDLE)


def _verdict(troubled: int, agents: int) -> str:
    if not agents:
        return "No agents yet"
    if not troubled:
        return "All is well"
    wants = "needs" if troubled == 1 else "need"
    return f"{troubled} of {count_text(agents, 'agent')} {wants} attention"


def _reason(view: AgentView) -> str:
    return view.state_reason or ("does not answer" if view.state.value == "running" else "")
