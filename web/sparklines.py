"""Small charts without axes: the last minutes of one figure as the path of an SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HEIGHT = 16
POINTS = 30


@dataclass(frozen=True)
class Spark:
    """Path data in a box of `width` by `HEIGHT`; `marks` are vertical strokes where something went wrong."""

    width: int
    line: str
    marks: str


def sparkline(values: Sequence[float | None], *, least_top: float, marks: Sequence[float | None] = ()) -> Spark | None:
    """The newest `POINTS` values, the newest at the right edge, drawn from zero to the highest of them.

    `least_top` is the smallest value that may fill the height, so that noise around zero stays flat. A None is a
    gap. `marks` are shares from 0 to 1, beside the values. None instead of a chart with less than two points.
    """
    newest = values[-POINTS:]
    known = [value for value in newest if value is not None]
    if len(known) < 2:
        return None
    # A little less than the whole height: a figure that stands still is not a full one.
    scale = 0.9 * HEIGHT / max(least_top, *known)
    first = POINTS - len(newest)
    runs = _runs(newest, first, scale)
    return Spark(
        width=POINTS - 1,
        line="".join(f"M{'L'.join(run)}" for run in runs),
        marks=_marks(marks[-POINTS:]),
    )


def _runs(values: Sequence[float | None], first: int, scale: float) -> list[list[str]]:
    """The points without a gap between them, as `x y`; a run of one point is widened to be seen."""
    runs: list[list[str]] = [[]]
    for x, value in enumerate(values, first):
        if value is not None:
            runs[-1].append(f"{x} {HEIGHT - value * scale:.1f}")
        elif runs[-1]:
            runs.append([])
    return [run if len(run) > 1 else run * 2 for run in runs if run]


def _marks(shares: Sequence[float | None]) -> str:
    first = POINTS - len(shares)
    return "".join(
        f"M{x} {HEIGHT}V{HEIGHT - max(3.0, HEIGHT * share):.1f}" for x, share in enumerate(shares, first) if share
    )
