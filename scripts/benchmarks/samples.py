"""Measured values: their median and spread, side by side as a table in Markdown, and a goal held against them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Samples:
    """One thing measured several times; `unit` makes text of a value."""

    label: str
    values: Sequence[float]
    unit: Callable[[float], str]

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.values)

    def cells(self, baseline: Samples) -> tuple[str, ...]:
        """The row: what, median, spread, how many, and how many times the baseline's median."""
        lowest, highest = self.unit(min(self.values)), self.unit(max(self.values))
        ratio = _ratio(self.median / baseline.median) if baseline.median else "-"
        return self.label, self.unit(self.median), f"{lowest} to {highest}", str(len(self.values)), ratio


def seconds(value: float) -> str:
    """A duration in the unit that suits its size."""
    if value < 0.001:
        return f"{value * 1e6:.0f} µs"
    if value < 1:
        return f"{value * 1e3:.3g} ms"
    return f"{value:.2f} s" if value < 100 else f"{value:.0f} s"


def megabytes(value: float) -> str:
    """Bytes as millions of them."""
    return f"{value / 1e6:.1f} MB"


def percent(value: float) -> str:
    """A share of one core, 100 being all of it."""
    return f"{value:.2f} %"


def _ratio(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def show(title: str, rows: Sequence[Samples]) -> None:
    """Print a table; the first row is what the others' ratios refer to."""
    head = (title, "median", "spread", "n", "ratio")
    lines = [head, *(row.cells(rows[0]) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for number, line in enumerate(lines):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    print(flush=True)


def goal(what: str, found: str, *, met: bool) -> None:
    """Print whether a goal is met; nothing fails when it is not."""
    print(f"Goal: {what}. Measured: {found}: {'met' if met else 'NOT met'}.\n", flush=True)
