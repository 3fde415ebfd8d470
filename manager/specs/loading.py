"""Config file and environment → `FleetConfig`, or everything that is wrong with them, at once.

Each part is checked for itself and comparisons between agents use the values as written, so that one mistake
never hides another.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent_service.issues import issues_of, json_path, keys_of, unknown_keys
from agent_service.redaction import brief
from manager.errors import ConfigError, ConfigIssue
from manager.settings import EnvironmentSource, RuntimeSettings, env_name, overlay
from manager.specs.definitions import references_in
from manager.specs.dependencies import dependency_issues
from manager.specs.document import read_document
from manager.specs.fleet_config import FleetConfig
from manager.specs.models import AgentConfig, ConfigDocument
from manager.specs.project import project_directory
from manager.specs.references import resolve_all
from manager.specs.webhooks import webhook_issues

_KINDS: dict[Any, str] = {dict: "an object", list: "an array", str: "text"}


def load_config(path: Path, *, environ: Mapping[str, str], check_references: bool = True) -> FleetConfig:
    """The config in `path` with `environ` over its `runtime`. Raises `ConfigError` with every issue.

    Without `check_references` an `env:` or `file:` that leads nowhere is no issue: dummies need no secrets.
    """
    # abspath and not resolve: a mounted config is often a link into a directory that nobody knows.
    path = Path(os.path.abspath(path))
    base = project_directory(path)
    document = read_document(path)
    issues = list(unknown_keys(ConfigDocument, document, ""))
    _member(document, "$schema", str, issues)
    runtime = _runtime(_member(document, "runtime", dict, issues), environ, issues)
    written = _member(document, "agents", list, issues)
    defaults = (runtime or RuntimeSettings()).agent_defaults()
    agents = [_agent(value, f"agents[{index}]", defaults, issues) for index, value in enumerate(written)]
    issues += [*_shared("id", str, written), *_shared("port", int, written)]
    issues += _on_manager_port(runtime, written)
    issues += dependency_issues(written)
    issues += _unusable_schemas(written)
    if check_references:
        issues += _unresolved(written, environ, base)
        issues += webhook_issues(runtime.webhooks if runtime else (), environ, base)
    if issues or runtime is None:
        raise ConfigError(str(path), issues)
    return FleetConfig(runtime, tuple(agent for agent in agents if agent), path, base)


def _member(document: dict[str, Any], key: str, kind: type[Any], issues: list[ConfigIssue]) -> Any:
    value = document.get(key, kind())
    if isinstance(value, kind):
        return value
    issues.append(ConfigIssue(key, brief(key, value), f"{_KINDS[kind]} is allowed"))
    return kind()


def _runtime(written: dict[str, Any], environ: Mapping[str, str], issues: list[ConfigIssue]) -> RuntimeSettings | None:
    known = keys_of(RuntimeSettings)
    try:
        # Unknown keys, reported already, must not reach the library: it takes some, `_env_file`, as orders.
        return RuntimeSettings.load({key: written[key] for key in written if key in known}, environ)
    except ValidationError as error:
        issues.extend(issues_of(error, RuntimeSettings, "runtime", _overridden(environ)))
        return None


def _overridden(environ: Mapping[str, str]) -> dict[tuple[str, ...], tuple[str, str]]:
    """`{location: (variable, text)}`; of `restart`, a variable sets the policy alone."""
    overridden: dict[tuple[str, ...], tuple[str, str]] = {}
    for key in EnvironmentSource(RuntimeSettings, environ)():
        variable = env_name(keys_of(RuntimeSettings)[key])
        location = (key, "policy") if key == "restart" else (key,)
        overridden[location] = (variable, environ[variable])
    return overridden


def _agent(written: object, path: str, defaults: Mapping[str, Any], issues: list[ConfigIssue]) -> AgentConfig | None:
    if not isinstance(written, dict):
        issues.append(ConfigIssue(path, brief(path, written), "an object is allowed"))
        return None
    try:
        return AgentConfig.model_validate(overlay(defaults, written))
    except ValidationError as error:
        issues.extend(issues_of(error, AgentConfig, path))
        return None


def _values(key: str, kind: type[Any], written: list[Any]) -> Iterator[tuple[int, Any]]:
    """Each agent's index and its `key`, where that is of the right kind; a boolean is no integer here."""
    for index, agent in enumerate(written):
        if isinstance(agent, dict) and type(agent.get(key)) is kind:
            yield index, agent[key]


def _shared(key: str, kind: type[Any], written: list[Any]) -> Iterator[ConfigIssue]:
    first: dict[Any, int] = {}
    for index, value in _values(key, kind, written):
        owner = first.setdefault(value, index)
        if owner != index:
            found = f"{brief(key, value)}, which agents[{owner}] has too"
            yield ConfigIssue(f"agents[{index}].{key}", found, f"give each agent its own {key}")


def _on_manager_port(runtime: RuntimeSettings | None, written: list[Any]) -> Iterator[ConfigIssue]:
    for index, port in _values("port", int, written):
        if runtime and port == runtime.manager_port:
            found = f"{port}, the port of the manager itself ({runtime.manager_url})"
            yield ConfigIssue(f"agents[{index}].port", found, "choose another port")


def _unusable_schemas(written: list[Any]) -> Iterator[ConfigIssue]:
    for index, definition in _values("definition", dict, written):
        schema = definition.get("output_schema")
        if isinstance(schema, dict):
            # Imported here: a fleet without such a schema need not pay for the library below.
            from agent_service.output_schema import schema_issue

            issue = schema_issue(schema, f"{json_path('agents', index)}.definition.output_schema")
            yield from () if issue is None else (issue,)


def _unresolved(written: list[Any], environ: Mapping[str, str], base: Path) -> Iterator[ConfigIssue]:
    for index, env in _values("env", dict, written):
        path = f"{json_path('agents', index)}.env"
        owner = written[index].get("id", index)
        yield from resolve_all(env, environ, base, path=path, owner=str(owner))[1]
    for index, definition in _values("definition", dict, written):
        path = f"{json_path('agents', index)}.definition"
        owner = written[index].get("id", index)
        own = written[index].get("env")
        # The agent's process resolves them: its own variables come first there.
        seen = {**environ, **(own if isinstance(own, dict) else {})}
        for place, values in references_in(definition):
            yield from resolve_all(values, seen, base, path=f"{path}.{place}", owner=str(owner))[1]
