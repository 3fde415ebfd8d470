"""A set-up in a directory of the test's, right until the test breaks it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from manager.diagnosis.finding import Finding
from manager.diagnosis.surroundings import Surroundings
from manager.specs.loading import load_config
from manager.store.store import InstanceRecord, Store
from manager.supervision.identity import identify
from tests.unit.manager.fakes.clock import FakeClock

Check = Callable[[Surroundings], Iterator[Finding]]


def surroundings(directory: Path, *agents: dict[str, Any], runtime: dict[str, Any] | None = None) -> Surroundings:
    """What doctor would see there, with an empty environment and without a manager."""
    path = directory / "agents.config.json"
    path.write_text(json.dumps({"runtime": runtime or {}, "agents": list(agents)}))
    return Surroundings(
        environ={}, clock=FakeClock(), config_path=path, config=load_config(path, environ={}, check_references=False)
    )


def broken(around: Surroundings) -> Surroundings:
    """The same with a config that cannot be used."""
    return replace(around, config=None)


def remember(state: Path, *agent_ids: str, pid: int, created_at: str) -> None:
    """Have the last manager have written down an instance of each, under that process."""

    async def main() -> None:
        store = await Store.open(state)
        for agent_id in agent_ids:
            record = InstanceRecord(
                f"{agent_id}-1", agent_id, pid, created_at, identify(pid).boot_id, "now", None, 0, 0
            )
            await store.add_instance(record)
        await store.close()

    asyncio.run(main())


def found(check: Check, around: Surroundings) -> list[tuple[str, str]]:
    """Level and message of each finding; whatever is not well says what to do."""
    findings = list(check(around))
    assert all((finding.remedy is None) == (finding.level == "ok") for finding in findings)
    return [(finding.level.value, finding.message) for finding in findings]
