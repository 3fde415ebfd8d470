"""What agents' configs refer to: `env:NAME` in the manager's environment, `file:PATH` below the project directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent_service.issues import json_path
from agent_service.references import UnresolvedReference, resolve
from manager.errors import ConfigError, ConfigIssue
from manager.specs.models import AgentConfig


def resolve_env(agent: AgentConfig, environ: Mapping[str, str], base: Path) -> dict[str, str]:
    """The environment variables of `agent`, resolved. Raises `ConfigError` with every reference that fails."""
    resolved, issues = resolve_all(agent.env, environ, base, path=f"{agent.id}.env", owner=agent.id)
    if issues:
        raise ConfigError(f"agent {agent.id!r}", issues)
    return resolved


def resolve_all(
    values: Mapping[str, Any], environ: Mapping[str, str], base: Path, *, path: str, owner: str
) -> tuple[dict[str, str], list[ConfigIssue]]:
    """What could be resolved of `values` and an issue, below `path` and naming `owner`, for each that could not.

    A value that is no text is left out: what is wrong with it is the model's to say.
    """
    resolved: dict[str, str] = {}
    issues: list[ConfigIssue] = []
    for key, value in values.items():
        if not isinstance(value, str):
            continue
        try:
            resolved[key] = resolve(value, environ, base, whose="the manager's")
        except UnresolvedReference as error:
            issues.append(ConfigIssue(json_path(path, key), f"{error.found} (agent {owner!r})", error.remedy))
    return resolved, issues
