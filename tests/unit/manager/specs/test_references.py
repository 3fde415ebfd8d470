"""What an agent's environment refers to, and what is said of references that lead nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from manager.errors import ConfigError
from manager.specs.models import AgentConfig
from manager.specs.references import resolve_env


def test_an_agents_environment_is_resolved_whole(tmp_path: Path) -> None:
    agent = AgentConfig(id="a", env={"K": "env:K", "MODE": "fast"})
    assert resolve_env(agent, {"K": "value", "OTHER": "x"}, tmp_path) == {"K": "value", "MODE": "fast"}


def test_every_unresolved_reference_names_agent_and_key(tmp_path: Path) -> None:
    agent = AgentConfig(id="a", env={"K": "env:GONE", "L": "file:gone", "M": "env:M"})
    with pytest.raises(ConfigError) as caught:
        resolve_env(agent, {"M": "hush"}, tmp_path)
    assert [issue.path for issue in caught.value.issues] == ["a.env.K", "a.env.L"]
    assert "'a'" in str(caught.value) and "hush" not in str(caught.value)
