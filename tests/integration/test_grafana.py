"""The shipped dashboard as Grafana's own model of dashboards reads it.

Needs the dependency group `grafana`; scripts/install-full installs it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, get_args, get_type_hints

import pytest

from tests.integration.manager_process import ROOT

pytestmark = pytest.mark.full

Json = dict[str, Any]


@pytest.fixture
def shipped() -> Json:
    return dict(json.loads((ROOT / "docs" / "monitoring" / "grafana.json").read_text(encoding="utf-8")))


def read(dashboard: Json) -> Any:
    # Imported here: only the full profile has it.
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    return Dashboard.from_json(dashboard)


def written(dashboard: Any) -> Any:
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    return json.loads(json.dumps(dashboard, cls=JSONEncoder))


def lost(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Where something of `before` is not in `after`; what is added are defaults."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            yield from lost(value, after[key], f"{path}.{key}") if key in after else [f"{path}.{key}"]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{path}[{number}]")
    elif before != after:
        yield path


def misnamed(found: Any, path: str = "") -> Iterator[str]:
    """Where a value is none of those that its field may have."""
    if isinstance(found, list | dict):
        for key, value in found.items() if isinstance(found, dict) else enumerate(found):
            yield from misnamed(value, f"{path}.{key}")
    elif hasattr(found, "to_json"):
        hints = get_type_hints(type(found))
        for name, value in vars(found).items():
            yield from misnamed(value, f"{path}.{name}")
            known = [each.value for choice in choices(hints.get(name)) for each in choice]
            said = value if isinstance(value, list) else [value]
            if known and value is not None and any(each not in known for each in said):
                yield f"{path}.{name}"


def choices(hint: Any) -> Iterator[type[Enum]]:
    """The enumerations that a type is made of."""
    if isinstance(hint, type) and issubclass(hint, Enum):
        yield hint
    for part in get_args(hint):
        yield from choices(part)


def test_grafana_knows_every_field_and_every_choice_of_the_dashboard(shipped: Json) -> None:
    dashboard = read(shipped)
    assert len(dashboard.panels) == len(shipped["panels"]) > 30
    assert list(lost(shipped, written(dashboard))) == []
    assert list(misnamed(dashboard)) == []


def test_every_legend_is_shown(shipped: Json) -> None:
    """Its model takes a legend that does not say so for a hidden one."""
    legends = [
        panel["options"]["legend"] for panel in written(read(shipped))["panels"] if "legend" in panel.get("options", {})
    ]
    assert legends and all(legend["showLegend"] for legend in legends)


def panel_of(dashboard: Json, kind: str) -> Json:
    return next(panel for panel in dashboard["panels"] if panel["type"] == kind)


BREAKING: dict[str, Callable[[Json], object]] = {
    "refesh": lambda board: board.update(refesh="30s"),
    "grafPos": lambda board: panel_of(board, "timeseries").update(grafPos={}),
    "legend_format": lambda board: panel_of(board, "timeseries")["targets"][0].update(legend_format="x"),
    "fillOpacty": lambda board: panel_of(board, "timeseries")["fieldConfig"]["defaults"]["custom"].update(fillOpacty=1),
    "colourMode": lambda board: panel_of(board, "stat")["options"].update(colourMode="value"),
    "allVale": lambda board: board["templating"]["list"][1].update(allVale=".*"),
}


@pytest.mark.parametrize("field", BREAKING)
def test_a_field_that_grafana_does_not_know_is_noticed(shipped: Json, field: str) -> None:
    BREAKING[field](shipped)
    (path,) = lost(shipped, written(read(shipped)))
    assert path.endswith(f".{field}")


def test_a_choice_that_grafana_does_not_know_is_noticed(shipped: Json) -> None:
    panel_of(shipped, "timeseries")["options"]["legend"]["placement"] = "below"
    (path,) = misnamed(read(shipped))
    assert path.endswith(".options.legend.placement")
