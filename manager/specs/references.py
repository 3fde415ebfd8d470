"""Values kept elsewhere: `env:NAME` in the manager's environment, `file:PATH` below the project directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from manager.errors import ConfigError, ConfigIssue, ManagerError
from manager.specs.document import json_path
from manager.specs.models import AgentConfig
from manager.specs.redaction import is_reference

MAX_REFERENCED_BYTES = 64 * 1024


class UnresolvedReference(ManagerError):
    """A reference leads nowhere: `found` says how, `remedy` what to do. Neither shows a resolved value."""

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(f"{found}; {remedy}")
        self.found = found
        self.remedy = remedy


def resolve(value: str, environ: Mapping[str, str], base: Path) -> str:
    """What `value` stands for; a value that is no reference stands for itself. Raises `UnresolvedReference`.

    A relative `file:` path begins at `base`; one newline at the file's end does not belong to the value.
    """
    if not is_reference(value):
        return value
    scheme, _, target = value.partition(":")
    return _from_environment(target, environ) if scheme == "env" else _from_file(target, base)


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
            resolved[key] = resolve(value, environ, base)
        except UnresolvedReference as error:
            issues.append(ConfigIssue(json_path(path, key), f"{error.found} (agent {owner!r})", error.remedy))
    return resolved, issues


def _from_environment(name: str, environ: Mapping[str, str]) -> str:
    if not name:
        raise UnresolvedReference("'env:' without a name", "write env:NAME")
    if name not in environ:
        raise UnresolvedReference(f"'env:{name}', which is not set", f"set {name} in the manager's environment")
    return environ[name]


def _from_file(target: str, base: Path) -> str:
    reference = f"'file:{target}'"
    if not target or "\0" in target:
        raise UnresolvedReference(f"{reference} without a path", "write file:PATH")
    path = base / target
    try:
        # A pipe or a device would keep the manager waiting.
        if not path.is_file():
            raise UnresolvedReference(f"{reference}, which is no file", f"create {path}")
        with path.open("rb") as file:
            data = file.read(MAX_REFERENCED_BYTES + 1)
    except OSError as error:
        raise UnresolvedReference(
            f"{reference}, which cannot be read ({error.strerror})", f"make {path} readable for the manager's user"
        ) from None
    return _text(reference, data)


def _text(reference: str, data: bytes) -> str:
    if len(data) > MAX_REFERENCED_BYTES:
        raise UnresolvedReference(f"{reference} with more than 64 KiB", "an environment variable takes less")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise UnresolvedReference(f"{reference}, which is not UTF-8", "save the file as UTF-8") from None
    if "\0" in text:
        raise UnresolvedReference(f"{reference} with a NUL character", "take it out of the file")
    return text.removesuffix("\n").removesuffix("\r")
