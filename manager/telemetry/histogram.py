"""One histogram's counts, kept and written by hand.

The library's own takes longer for one observation than five of these, and far longer to be written.
"""

from __future__ import annotations

from bisect import bisect_left


class Buckets:
    """The upper bounds of a histogram's buckets, in seconds, ascending; the last, infinite one goes without saying."""

    __slots__ = ("bounds", "labels")

    def __init__(self, *bounds: float) -> None:
        self.bounds = bounds
        self.labels = [f'le="{bound}"' for bound in (*map(float, bounds), "+Inf")]


class Histogram:
    """Observed on the event loop, written from any thread."""

    __slots__ = ("_buckets", "_counts", "_total")

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets
        self._counts = [0] * len(buckets.labels)
        self._total = 0.0

    def observe(self, seconds: float) -> None:
        """One more."""
        self._counts[bisect_left(self._buckets.bounds, seconds)] += 1
        self._total += seconds

    def text(self, name: str, labels: str) -> str:
        """Its lines on a page; `labels` such as `agent_id="planner"`."""
        lines, so_far = [], 0
        for bound, count in zip(self._buckets.labels, self._counts, strict=True):
            so_far += count
            lines.append(f"{name}_bucket{{{labels},{bound}}} {so_far}\n")
        lines.append(f"{name}_sum{{{labels}}} {self._total!r}\n{name}_count{{{labels}}} {so_far}\n")
        return "".join(lines)
