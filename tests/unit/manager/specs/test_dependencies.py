"""Who may depend on whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.manager.specs.test_loading import agents, issues, load


def needing(**needs: list[Any]) -> dict[str, object]:
    """Agents and what each depends on."""
    return agents(*({"id": agent_id, "dependsOn": needed} for agent_id, needed in needs.items()))


def test_agents_may_share_what_they_depend_on(tmp_path: Path) -> None:
    config = load(tmp_path, needing(a=["b", "c"], b=["d"], c=["d"], d=[]))
    assert config.agents[0].depends_on == ("b", "c")


def test_an_unknown_id_is_named_with_the_nearest_that_there_is(tmp_path: Path) -> None:
    (issue,) = issues(tmp_path, needing(planner=["exceutor"], executor=[])).values()
    assert issue.path == "agents[0].dependsOn[0]"
    assert (issue.found, issue.allowed) == ("'exceutor', which is no agent here", "did you mean 'executor'?")


@pytest.mark.parametrize(
    ("needs", "circle"),
    [({"a": ["a"]}, "a → a"), ({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]}, "a → b → c → a")],
)
def test_a_circle_is_told_with_its_whole_path(tmp_path: Path, needs: dict[str, list[str]], circle: str) -> None:
    (issue,) = issues(tmp_path, needing(**needs)).values()
    ring = circle.split(" → ")[:-1]
    turned = [" → ".join([*ring[i:], *ring[: i + 1]]) for i in range(len(ring))]
    assert issue.found in [f"a circle: {each}" for each in turned]


def test_every_circle_and_every_unknown_id_is_told_at_once(tmp_path: Path) -> None:
    found = issues(tmp_path, needing(a=["b"], b=["a", "nobody"], c=["d"], d=["c", 7]))
    assert sum("a circle" in issue.found for issue in found.values()) == 2
    assert "agents[1].dependsOn[1]" in found and found["agents[3].dependsOn[1]"].allowed == "text is allowed"


def test_a_long_chain_is_no_circle(tmp_path: Path) -> None:
    chain = {f"a{index}": [f"a{index + 1}"] for index in range(2000)}
    assert len(load(tmp_path, needing(**chain, a2000=[])).agents) == 2001


@pytest.mark.parametrize(
    ("written", "path", "allowed"),
    [
        ({"probe": {"http": "/health"}}, "agents[0].probe", "only a command is probed"),
        ({"command": ["x"], "probe": {"http": "health"}}, "agents[0].probe.http", "write a path such as /health"),
        ({"command": ["x"], "probe": {"http": "http://u:p@x/"}}, "agents[0].probe.http", "write a path such as"),
        ({"command": ["x"], "probe": {}}, "agents[0].probe.http", "it is required"),
        ({"command": ["x"], "probe": {"http": "/", "failures": 0}}, "agents[0].probe.failures", "it should be"),
        ({"command": ["x"], "probe": {"http": "/"}, "instances": 2}, "agents[0].instances", "a sidecar has one"),
        ({"requiresExtra": "nonsense"}, "agents[0].requiresExtra", "it should be 'openai'"),
    ],
)
def test_impossible_sidecars_are_refused(tmp_path: Path, written: dict[str, Any], path: str, allowed: str) -> None:
    (issue,) = issues(tmp_path, agents({"id": "a", **written})).values()
    assert issue.path == path and issue.allowed.startswith(allowed)
