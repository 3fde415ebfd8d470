"""The fleet's key figures of the last five minutes, as plain texts. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from manager.supervision.views import AgentView
from manager.telemetry.traffic import Recent
from web.texts import bytes_text, milliseconds_text, percent_text, rate_text, share_text
from web.tones import STATE_TONES, Tone

_MANY_ERRORS = 0.05


@dataclass(frozen=True)
class KeyFigure:
    """One number and what it is; `hint` says what it is of."""

    label: str
    text: str
    hint: str
    tone: Tone = Tone.IDLE


@dataclass(frozen=True)
class MetricRow:
    """One agent's figures. Absent ones are None."""

    id: str
    state: str
    tone: Tone
    rate: str | None
    errors: str | None
    errors_tone: Tone
    p50: str | None
    p95: str | None
    in_flight: int
    queued: int
    done: int
    failed: int
    cpu: str | None
    memory: str | None


def key_figures(views: Sequence[AgentView], recents: Mapping[str, Recent]) -> list[KeyFigure]:
    """Of the whole fleet."""
    known = [recents[view.id] for view in views if view.id in recents]
    requests = sum(recent.requests for recent in known)
    errors = sum(recent.errors for recent in known)
    slowest = max((recent.p95_ms for recent in known if recent.p95_ms is not None), default=None)
    return [
        KeyFigure("Requests", rate_text(sum(each.requests_per_second for each in known)), "executes, last 5 min"),
        KeyFigure(
            "Errors", share_text(errors / requests) if requests else "none", "of them", _errors(errors, requests)
        ),
        KeyFigure("Slowest p95", "none" if slowest is None else milliseconds_text(slowest), "of any agent"),
        KeyFigure("In flight", str(sum(view.in_flight for view in views)), "now"),
        KeyFigure("Queued", str(sum(view.queued for view in views)), "now"),
        KeyFigure("CPU", percent_text(sum(view.cpu_percent or 0 for view in views)), "all agents; 100 % is one core"),
        KeyFigure("Memory", bytes_text(sum(view.rss_bytes or 0 for view in views)), "all agents"),
    ]


def metric_rows(views: Sequence[AgentView], recents: Mapping[str, Recent]) -> list[MetricRow]:
    """Of each agent, in the fleet's order."""
    return [_row(view, recents.get(view.id)) for view in views]


def _row(view: AgentView, recent: Recent | None) -> MetricRow:
    asked = recent is not None and recent.requests > 0
    return MetricRow(
        id=view.id,
        state=view.state.value,
        tone=STATE_TONES[view.state],
        rate=rate_text(recent.requests_per_second) if recent is not None and asked else None,
        errors=share_text(recent.error_ratio) if recent is not None and recent.error_ratio is not None else None,
        errors_tone=_errors(recent.errors, recent.requests) if recent is not None else Tone.IDLE,
        p50=None if recent is None or recent.p50_ms is None else milliseconds_text(recent.p50_ms),
        p95=None if recent is None or recent.p95_ms is None else milliseconds_text(recent.p95_ms),
        in_flight=view.in_flight,
        queued=view.queued,
        done=view.tasks_total,
        failed=view.tasks_failed,
        cpu=None if view.cpu_percent is None else percent_text(view.cpu_percent),
        memory=None if view.rss_bytes is None else bytes_text(view.rss_bytes),
    )


def _errors(errors: int, requests: int) -> Tone:
    if not errors:
        return Tone.IDLE
    return Tone.BAD if errors / requests >= _MANY_ERRORS else Tone.WARN
