"""What every benchmark is told, and how it says that it cannot measure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
BENCH_DIRECTORY = ROOT / ".bench"


class CannotMeasure(Exception):
    """Something that is measured did not do what it should; the message says what, and what it logged."""


@dataclass(frozen=True)
class Options:
    """`scratch` is an empty directory that is removed afterwards. `agents`: the size of an idle fleet."""

    runs: int | None
    quick: bool
    scratch: Path
    agents: int | None = None

    def size(self, full: T, quick: T) -> T:
        """The one that was asked for."""
        return quick if self.quick else full

    def repeat(self, full: int, quick: int) -> int:
        """How often to measure: `--runs`, or else the benchmark's own number."""
        return self.runs or self.size(full, quick)

    def fleet(self, full: int, quick: int) -> int:
        """How many idle agents: `--agents`, or else the benchmark's own number."""
        return self.agents or self.size(full, quick)

    def directory(self, name: str) -> Path:
        """A new directory in `scratch`."""
        path = self.scratch / name
        path.mkdir()
        return path
