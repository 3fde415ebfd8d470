"""An hour of figures as a chart: SVG paths, an axis in round numbers, and the same as a table. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil, floor, log10
from statistics import fmean

from agent_service.contract import rfc3339
from manager.telemetry.series import CAPACITY, Series
from web.texts import age_text

HEIGHT = 100
# How many points a chart has room for: five minutes for a young manager, then more, up to the hour.
_SPANS = (30, 90, 180, CAPACITY)
_MINUTE_SECONDS = 60
_LINES = 2

Text = Callable[[float], str]


@dataclass(frozen=True)
class Line:
    """One figure's course: path data in a box as wide as its chart by `HEIGHT`; a gap where nothing is known.

    `dots` are the points that stand alone.
    """

    name: str
    label: str
    path: str
    dots: str
    area: str
    newest: str


@dataclass(frozen=True)
class Mark:
    """A line of the grid: `y` from the top, in the box, and what it says."""

    y: float
    text: str


@dataclass(frozen=True)
class Row:
    """One minute of the table."""

    at: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Chart:
    """`ended_at` is the time of the right edge, None before the first point; `points` are for the pointer's readout.

    `width` is the box's, one for each interval; `span` says how long that is: `1 h`.
    """

    name: str
    title: str
    width: int
    span: str
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...]
    ended_at: str | None
    rows: tuple[Row, ...]
    points: tuple[tuple[str | None, ...], ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is known."""
        return not any(line.path or line.dots for line in self.lines)

    @property
    def summary(self) -> str:
        """In a sentence, for those who do not see it."""
        return "; ".join(f"{line.label} now {line.newest}" for line in self.lines)


@dataclass(frozen=True)
class Figure:
    """What a chart shows: names in a `Series` with their labels. `least_top` is the lowest top of the axis.

    `binary`: the axis is marked in powers of two, as memory is counted.
    """

    name: str
    title: str
    series: tuple[tuple[str, str], ...]
    text: Text
    least_top: float
    binary: bool = False


def chart(figure: Figure, series: Series) -> Chart:
    """The chart of one figure, its newest point at the right edge."""
    courses = [(name, label, series.values.get(name, [])) for name, label in figure.series]
    room = next(span for span in _SPANS if span >= max(len(course) for _, _, course in courses))
    top = _top(max((value for _, _, course in courses for value in course if value is not None), default=0), figure)
    return Chart(
        name=figure.name,
        title=figure.title,
        width=room - 1,
        span=age_text(room * series.interval_seconds).removesuffix(" 0 min"),
        lines=tuple(_line(name, label, course, room, top, figure.text) for name, label, course in courses),
        marks=tuple(_mark(part / _LINES, top, figure.text) for part in range(_LINES + 1)),
        ended_at=None if series.ended_at is None else rfc3339(series.ended_at),
        rows=tuple(_rows(series, [course for _, _, course in courses], figure.text)),
        points=tuple(tuple(_told(value, figure.text) for value in course) for _, _, course in courses),
    )


def _top(highest: float, figure: Figure) -> float:
    """The end of the axis: the next round number, so that its half is one too."""
    wanted = max(highest, figure.least_top)
    if figure.binary:
        power = 2.0 ** floor(log10(wanted) / log10(2))
        return next(step * power for step in (1, 1.5, 2) if step * power >= wanted)
    power = 10.0 ** floor(log10(wanted))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= wanted * (1 - 1e-9))


def _mark(share: float, top: float, text: Text) -> Mark:
    return Mark(HEIGHT * (1 - share), text(top * share) if share else "0")


def _line(name: str, label: str, course: Sequence[float | None], room: int, top: float, text: Text) -> Line:
    first = room - len(course)
    runs = [*_runs(course, first, top)]
    courses = [run for run in runs if len(run) > 1]
    newest = next((value for value in reversed(course) if value is not None), None)
    return Line(
        name=name,
        label=label,
        path="".join("M" + "L".join(f"{x} {y:.1f}" for x, y in run) for run in courses),
        dots="".join(f"M{x} {y:.1f}h0" for [(x, y), *rest] in runs if not rest),
        area="".join(
            f"M{run[0][0]} {HEIGHT}L" + "L".join(f"{x} {y:.1f}" for x, y in run) + f"L{run[-1][0]} {HEIGHT}Z"
            for run in courses
        ),
        newest=text(newest) if newest is not None else "unknown",
    )


def _runs(course: Sequence[float | None], first: int, top: float) -> Iterator[list[tuple[int, float]]]:
    """The points without a gap between them."""
    run: list[tuple[int, float]] = []
    for x, value in enumerate([*course, None], first):
        if value is not None:
            run.append((x, HEIGHT * (1 - value / top)))
        elif run:
            yield run
            run = []


def _rows(series: Series, courses: Sequence[Sequence[float | None]], text: Text) -> Iterator[Row]:
    """Means of whole minutes, the newest first."""
    length = max((len(course) for course in courses), default=0)
    each = ceil(_MINUTE_SECONDS / series.interval_seconds)
    ended = series.ended_at
    for end in range(length, 0, -each):
        if ended is None:
            return
        at: datetime = ended - timedelta(seconds=(length - end) * series.interval_seconds)
        yield Row(rfc3339(at), tuple(_mean(course[max(0, end - each) : end], text) for course in courses))


def _mean(values: Sequence[float | None], text: Text) -> str:
    known = [value for value in values if value is not None]
    return text(fmean(known)) if known else ""


def _told(value: float | None, text: Text) -> str | None:
    return None if value is None else text(value)
