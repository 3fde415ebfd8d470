"""Settings as rows of texts: what was chosen, and, apart from it, what is as it would be anyway."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from agent_service.issues import keys_of
from agent_service.redaction import HIDDEN, is_reference
from manager.settings import AgentSettings, RuntimeSettings
from manager.specs.models import AgentConfig


class ValueKind(StrEnum):
    """What a value is, to the eye."""

    PLAIN = "plain"
    PROSE = "prose"
    REFERENCE = "reference"
    HIDDEN = "hidden"
    EMPTY = "empty"


@dataclass(frozen=True)
class ValueText:
    """A JSON value in one text; a secret is hidden already when it comes here."""

    text: str
    kind: ValueKind


@dataclass(frozen=True)
class SettingRow:
    """One value. `path` is dotted; `help` says what the key is for, where its model says it."""

    path: str
    value: ValueText
    help: str


@dataclass(frozen=True)
class Settings:
    """`chosen` differ from their defaults."""

    chosen: tuple[SettingRow, ...]
    defaults: tuple[SettingRow, ...]


_PROSE_LENGTH = 60
_FLEET_KEYS = frozenset(keys_of(AgentSettings))


def value_text(value: Any) -> ValueText:
    """`30`, `true`, `env:TEAM_KEY`, a prompt of several lines; an absent value is a dash."""
    if value is None or value == {} or value == []:
        return ValueText("none" if value is None else json.dumps(value), ValueKind.EMPTY)
    if value == HIDDEN:
        return ValueText("hidden", ValueKind.HIDDEN)
    if not isinstance(value, str):
        return ValueText(json.dumps(value, ensure_ascii=False), ValueKind.PLAIN)
    if is_reference(value):
        return ValueText(value, ValueKind.REFERENCE)
    return ValueText(value, ValueKind.PROSE if len(value) > _PROSE_LENGTH or "\n" in value else ValueKind.PLAIN)


def runtime_rows(runtime: RuntimeSettings) -> Settings:
    """The `runtime` block that is in force, but for its webhooks, which have a table of their own."""
    shown, defaults = (
        settings.model_dump(mode="json", exclude={"webhooks"}) for settings in (runtime, RuntimeSettings())
    )
    return _split(shown, defaults, RuntimeSettings)


def agent_rows(agent: AgentConfig, runtime: RuntimeSettings) -> Settings:
    """One agent's config; its defaults are those that `runtime` gives the fleet."""
    return spec_rows(agent.to_public(), runtime)


def spec_rows(public: Mapping[str, Any], runtime: RuntimeSettings) -> Settings:
    """The same of what an agent's config shows of itself (`AgentDetail.spec`)."""
    bare = AgentConfig(id=public["id"], **runtime.agent_defaults()).to_public()
    # What is the agent's own comes before what it has in common with the fleet.
    own = {key: value for key, value in public.items() if key != "id" and key not in _FLEET_KEYS}
    shown = own | {key: value for key, value in public.items() if key in _FLEET_KEYS}
    return _split(shown, {key: value for key, value in bare.items() if key != "entryPoint"}, AgentConfig)


def _split(values: Mapping[str, Any], defaults: Mapping[str, Any], model: type[BaseModel]) -> Settings:
    helps = {key: model.model_fields[name].description or "" for key, name in keys_of(model).items()}
    chosen: list[SettingRow] = []
    usual: list[SettingRow] = []
    for key, whole in values.items():
        for path, leaf, was in _leaves(key, whole, defaults.get(key)):
            value = value_text(leaf)
            # What an agent's definition leaves empty has no default to compare with.
            is_usual = leaf == was if key in defaults else value.kind is ValueKind.EMPTY
            (usual if is_usual else chosen).append(SettingRow(path, value, helps.get(key, "") if path == key else ""))
    return Settings(tuple(chosen), tuple(usual))


def _leaves(path: str, value: Any, default: Any) -> Iterator[tuple[str, Any, Any]]:
    """(path, value, default) of everything below; an array is one value unless it holds objects."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(f"{path}.{key}", inner, default.get(key) if isinstance(default, Mapping) else None)
    elif isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value):
        for number, inner in enumerate(value):
            yield from _leaves(f"{path}[{number}]", inner, None)
    else:
        yield path, value, default
