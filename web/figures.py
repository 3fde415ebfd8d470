"""What an agent's row says of the last five minutes: rate, latency, errors, and small charts beside the figures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from manager.clock import Clock
from manager.telemetry.traffic import Recent
from web.sparklines import POINTS, Spark, sparkline
from web.texts import milliseconds_text, rate_text, share_text
from web.tones import Tone

# How old the figures of a row may be; a point of a chart is longer than that.
PACE_SECONDS = 2.0
ERRORS_THAT_MATTER = 0.05
_SERIES = ("requests_per_second", "error_ratio", "cpu_percent", "rss_bytes")
_MIB = 1024.0**2


class SeriesReader(Protocol):
    """Where the figures come from: `manager.telemetry.series.FleetSeries`."""

    version: int

    def all(self, names: Sequence[str], *, points: int = POINTS) -> dict[str, dict[str, list[float | None]]]:
        """Agent id → name → the newest points, oldest first."""
        ...

    def recents(self) -> dict[str, Recent]:
        """The requests of the last five minutes, agent by agent."""
        ...


@dataclass(frozen=True)
class Sparks:
    """The charts of one row; None where there is nothing to draw yet."""

    requests: Spark | None = None
    cpu: Spark | None = None
    memory: Spark | None = None


NO_SPARKS = Sparks()


@dataclass(frozen=True)
class Figures:
    """One agent's. The texts are None for an agent without requests; the numbers are what rows are sorted by."""

    latency: str | None = None
    """`12 / 80 ms`: half of the requests took no longer than the first, 95 of 100 no longer than the second."""
    errors: str | None = None
    errors_tone: Tone = Tone.IDLE
    rate: str | None = None
    requests_per_second: float = 0.0
    p95_ms: float | None = None
    error_ratio: float | None = None
    sparks: Sparks = NO_SPARKS


NO_FIGURES = Figures()


class FigureReader:
    """Makes them, no oftener than is worth it; the charts once for each point of the series."""

    def __init__(self, series: SeriesReader, clock: Clock) -> None:
        self._series = series
        self._clock = clock
        self._charted = -1
        self._sparks: dict[str, Sparks] = {}
        self._read_at = float("-inf")
        self._figures: dict[str, Figures] = defaultdict(Figures)

    def current(self) -> dict[str, Figures]:
        """By agent id; every id has some. The same object while they are fresh."""
        now = self._clock.monotonic()
        if now - self._read_at >= PACE_SECONDS or self._series.version != self._charted:
            self._read_at = now
            self._chart()
            self._figures = self._read()
        return self._figures

    def _chart(self) -> None:
        if self._series.version != self._charted:
            self._charted = self._series.version
            self._sparks = {key: _sparks(points) for key, points in self._series.all(_SERIES, points=POINTS).items()}

    def _read(self) -> dict[str, Figures]:
        figures: dict[str, Figures] = defaultdict(Figures)
        recents = self._series.recents()
        for agent_id in {*recents, *self._sparks}:
            figures[agent_id] = figures_of(recents.get(agent_id), self._sparks.get(agent_id, NO_SPARKS))
        return figures


def figures_of(recent: Recent | None, sparks: Sparks) -> Figures:
    """The texts of one agent's requests, and its charts."""
    if recent is None or not recent.requests:
        return Figures(sparks=sparks)
    ratio = recent.error_ratio
    return Figures(
        latency=_latency(recent),
        errors=None if ratio is None else share_text(ratio),
        errors_tone=_errors_tone(ratio),
        rate=rate_text(recent.requests_per_second),
        requests_per_second=recent.requests_per_second,
        p95_ms=recent.p95_ms,
        error_ratio=ratio,
        sparks=sparks,
    )


def _latency(recent: Recent) -> str | None:
    if recent.p50_ms is None or recent.p95_ms is None:
        return None
    half, most = milliseconds_text(recent.p50_ms), milliseconds_text(recent.p95_ms)
    number, _, unit = half.partition(" ")
    return f"{number if most.endswith(f' {unit}') else half} / {most}"


def _errors_tone(ratio: float | None) -> Tone:
    if not ratio:
        return Tone.IDLE
    return Tone.BAD if ratio >= ERRORS_THAT_MATTER else Tone.WARN


def _sparks(points: Mapping[str, list[float | None]]) -> Sparks:
    return Sparks(
        requests=sparkline(points["requests_per_second"], least_top=1.0, marks=points["error_ratio"]),
        cpu=sparkline(points["cpu_percent"], least_top=10.0),
        memory=sparkline(points["rss_bytes"], least_top=64 * _MIB),
    )
