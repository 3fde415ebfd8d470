"""What docs/monitoring ships fits what the code has: every metric and label that a query names exists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.every_metric import collectors_of_an_agent_from_data, metric_families

MONITORING = Path(__file__).parents[2] / "docs" / "monitoring"
# Of Prometheus itself, and of the manager's process where the system tells (Linux).
_ALSO = {
    "up",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
}
# What Prometheus adds to every series of a target.
_OF_THE_TARGET = {"job", "instance"}
_KEYWORDS = {"and", "or", "unless", "on", "by", "bool", "ignoring", "without", "group_left", "group_right", "offset"}
_WORD = r"[a-zA-Z_:][a-zA-Z0-9_:]*+"


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def rule_tests() -> list[dict[str, Any]]:
    return list(yaml.safe_load((MONITORING / "alerts.test.yml").read_text(encoding="utf-8"))["tests"])


def dashboard() -> dict[str, Any]:
    return dict(json.loads((MONITORING / "grafana.json").read_text(encoding="utf-8")))


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    """Every expression, and every series that a test of a rule makes up."""
    shown = [target["expr"] for panel in panels() for target in panel["targets"]]
    variables = [one["query"]["query"] for one in dashboard()["templating"]["list"] if one["type"] == "query"]
    made_up = [one["series"] for test in rule_tests() for one in test["input_series"]]
    return [*(rule["expr"] for rule in rules()), *shown, *made_up, *re.findall(r"\((.+),", "\n".join(variables))]


def selectors(query: str) -> Iterator[tuple[str, set[str]]]:
    """Each metric of a query with the labels that it is asked by."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', query)
    bare = re.sub(r"\b(?:by|on|ignoring|without|group_left)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"\[[^\]]*\]", "", bare)
    for found in re.finditer(rf"(?<![\w:.])({_WORD})(?!\s*\()(?:\{{([^}}]*)\}})?", bare):
        if found[1] not in _KEYWORDS and not _is_inside_braces(bare, found.start()):
            yield found[1], set(re.findall(rf"({_WORD})\s*(?:=~|!~|!=|=)", found[2] or ""))


def _is_inside_braces(text: str, at: int) -> bool:
    return text.count("{", 0, at) > text.count("}", 0, at)


def known() -> dict[str, set[str]]:
    """Every name that a sample has, and its labels."""
    found: dict[str, set[str]] = {name: {"agent_id", "instance_id"} for name in _ALSO}
    for family in metric_families(collectors_of_an_agent_from_data()):
        labels = {label for series in family.samples for label in re.findall(rf'({_WORD})="', series)}
        found |= {name: labels | found.get(name, set()) for name in family.sample_names}
    # Of a server of tools there is none in the fixture.
    found["agent_mcp_server_up"] = {"agent_id", "instance_id", "server"}
    return found


def test_queries_are_taken_apart_as_prometheus_does() -> None:
    query = 'sum by (a, le) (rate(x_total{b="c{d}", e=~"f|g"}[5m])) / on (h) group_left (i) y > 0.5 and z{} offset 5m'
    assert list(selectors(query)) == [("x_total", {"b", "e"}), ("y", set()), ("z", set())]


def test_every_metric_and_label_that_is_asked_for_exists() -> None:
    metrics = known()
    asked = [(name, labels, query) for query in queries() for name, labels in selectors(query)]
    assert len(asked) > 100
    for name, labels, query in asked:
        assert name in metrics, query
        assert labels <= metrics[name] | _OF_THE_TARGET, query


def test_every_alert_is_tested_to_be_quiet_and_to_fire() -> None:
    tested = [
        [(case["alertname"], bool(case.get("exp_alerts"))) for case in test["alert_rule_test"]] for test in rule_tests()
    ]
    assert tested == [[(rule["alert"], False), (rule["alert"], True)] for rule in rules()]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_every_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(rule["annotations"]) == {"summary", "description"}


def test_the_dashboard_names_no_data_source_of_its_own() -> None:
    sources = {panel["datasource"]["uid"] for panel in panels()}
    sources |= {target["datasource"]["uid"] for panel in panels() for target in panel["targets"]}
    assert sources == {"${datasource}"}


def test_no_panel_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24 and not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(ids)) == len(ids)
