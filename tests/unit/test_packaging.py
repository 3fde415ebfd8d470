"""What goes into the packages that are built from a checkout, which may be in use."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CONFIG = "config/agents.config.json"
STARTER = "manager/cli/starter/agents.config.json"


def targets() -> dict[str, Any]:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: dict[str, Any] = document["tool"]["hatch"]["build"]["targets"]
    return found


def test_the_wheel_has_the_starter_and_nothing_of_the_fleet_that_the_checkout_runs() -> None:
    wheel = targets()["wheel"]
    assert (ROOT / STARTER).is_file()
    assert wheel["packages"] == ["manager", "agent_service", "web"]
    assert "force-include" not in wheel


def test_the_source_distribution_has_the_starter_and_not_the_fleet_that_the_checkout_runs() -> None:
    sdist = targets()["sdist"]
    assert "manager" in sdist["include"]
    assert [path for path in sdist["include"] if CONFIG.startswith(path)] == []
    assert "force-include" not in sdist
