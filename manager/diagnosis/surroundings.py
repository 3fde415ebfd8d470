"""What the checks look at; it was read once, so that they all speak of the same moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from manager.clock import Clock
from manager.errors import ConfigIssue
from manager.specs.fleet_config import FleetConfig
from manager.store.holder import Holder


@dataclass(frozen=True)
class ManagerAnswers:
    """What a manager at `url` says of itself; `trouble` is a sentence where it does not answer or is not ready.

    `ahead_seconds`: its clock, of this one. `states`: of its agents, by id, with the reason where there is one.
    `webhooks`: those that fail, with the reason. `pending`: keys of `runtime` that wait for its restart.
    """

    url: str
    trouble: str | None = None
    ahead_seconds: float = 0.0
    states: Mapping[str, tuple[str, str | None]] | None = None
    webhooks: Mapping[str, str] | None = None
    pending: Sequence[str] = ()


@dataclass(frozen=True)
class Surroundings:
    """`config` is None where `issues` are wrong with it. `holder`: the manager that holds the state directory now.

    `last_holder`: the one that wrote itself down there, whether it lives or not.
    """

    environ: Mapping[str, str]
    clock: Clock
    config_path: Path
    config: FleetConfig | None
    issues: Sequence[ConfigIssue] = ()
    holder: Holder | None = None
    last_holder: Holder | None = None
    answers: ManagerAnswers | None = None
