"""What is wrong with a part of the config, as issues: where, what was found, what is allowed.

The manager's file and the definitions that an adapter is given are judged alike. Imports pydantic and the standard
library only.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from agent_service.redaction import HIDDEN, brief

# Told already: unknown keys by `unknown_keys`, and why a default that is made from other fields was not made.
_TOLD = frozenset({"extra_forbidden", "default_factory_not_called"})

# Variables and headers: whatever they are called, their values may be secrets.
_HIDDEN_OBJECTS = frozenset({"env", "headers"})

_SENTENCES = {
    "missing": "it is required",
    "float_type": "a number is allowed",
    "int_type": "a whole number is allowed",
    "bool_type": "true or false is allowed",
    "string_type": "text is allowed",
    "dict_type": "an object is allowed",
    "tuple_type": "an array is allowed",
    "list_type": "an array is allowed",
    "int_from_float": "a whole number is allowed",
    "model_type": "an object is allowed",
    "string_too_short": "text that is not empty is allowed",
    "too_short": "an array with at least one element is allowed",
    "recursion_depth_exceeded": "flatten it, it is nested too deep",
    "finite_number": "a finite number is allowed",
}

_PATTERNS = {
    "api_key": "a reference is allowed: env:NAME or file:PATH",
    "base_url": "an address is allowed: http://HOST[:PORT][/PATH], without user, password or query",
    "url": "an http:// or https:// address is allowed",
}
"""What a text that does not fit its pattern should be, by its key; else it is a name."""

_LETTERS_OF_BOTH_CASES = "A-Za-z"


@dataclass(frozen=True)
class ConfigIssue:
    """One thing wrong with a config: its JSON path, what was found and what is allowed."""

    path: str
    found: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.path}: found {self.found}; {self.allowed}"


def json_path(parent: str, key: str | int) -> str:
    """The path of a member: `agents[0].env.KEY`; a key that is no plain word stands in brackets and quotes."""
    if isinstance(key, int):
        return f"{parent}[{key}]"
    if not key.replace("$", "").isidentifier():
        return f"{parent}[{json.dumps(key)}]"
    return f"{parent}.{key}" if parent else key


def keys_of(model: type[BaseModel]) -> dict[str, str]:
    """`{key in the file: field name}` of a model."""
    return {field.alias or name: name for name, field in model.model_fields.items()}


def unknown_keys(model: type[BaseModel], value: object, path: str) -> Iterator[ConfigIssue]:
    """An issue for each key, at any depth of `value`, that `model` does not have."""
    if not isinstance(value, dict):
        return
    keys = keys_of(model)
    for key, member in value.items():
        here = json_path(path, key)
        if key not in keys:
            yield ConfigIssue(here, *_unknown(key, list(keys)))
            continue
        nested = _model_in(model.model_fields[keys[key]].annotation)
        if nested and isinstance(member, list):
            for index, element in enumerate(member):
                yield from unknown_keys(nested, element, json_path(here, index))
        elif nested:
            yield from unknown_keys(nested, member, here)


def _unknown(key: str, keys: list[str]) -> tuple[str, str]:
    by_lower_case = {known.lower(): known for known in keys}
    # Without underscores drain_timeout_seconds is as near as can be.
    close = difflib.get_close_matches(key.replace("_", "").lower(), by_lower_case, n=1)
    if close:
        return "an unknown key", f"did you mean {by_lower_case[close[0]]!r}?"
    return "an unknown key", f"remove it; allowed are {', '.join(keys)}"


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a field is or holds: `Model`, `tuple[Model, ...]`."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def issues_of(
    error: ValidationError,
    model: type[BaseModel],
    path: str,
    overridden: Mapping[tuple[str, ...], tuple[str, str]] | None = None,
) -> Iterator[ConfigIssue]:
    """`error`, raised by `model`, for a reader of the file.

    `overridden` maps a location to the environment variable that set it and that variable's text.
    """
    found = error.errors(include_url=False)
    for details in found:
        if details["type"] in _TOLD or _is_consequence(details, found):
            continue
        location = _location(model, details["loc"])
        for prefix, (variable, text) in (overridden or {}).items():
            if location[: len(prefix)] == prefix:
                yield ConfigIssue(variable, brief(variable, text), _allowed(details))
                break
        else:
            yield ConfigIssue(_path(path, location), _found(details, location), _allowed(details))


def _is_consequence(details: ErrorDetails, found: Sequence[ErrorDetails]) -> bool:
    """An array is too short for pydantic when those of its elements that are wrong are not counted."""
    loc = details["loc"]
    return details["type"] == "too_short" and any(
        len(other["loc"]) > len(loc) and other["loc"][: len(loc)] == loc for other in found
    )


def _location(model: type[BaseModel], loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Pydantic's location in the file's spelling: a wrong default is reported under its field's Python name."""
    if not loc or not isinstance(loc[0], str):
        return loc
    keys = keys_of(model)
    name = keys.get(loc[0], loc[0])
    field = model.model_fields.get(name)
    if field is None:
        return loc
    nested = _model_in(field.annotation)
    rest = _location(nested, loc[1:]) if nested else loc[1:]
    return (field.alias or name, *(part for part in rest if part != "[key]"))


def _path(path: str, location: tuple[int | str, ...]) -> str:
    # What is nested too deep has a location of hundreds of parts.
    for part in location[:8]:
        path = json_path(path, part)
    return path


def _found(details: ErrorDetails, location: tuple[int | str, ...]) -> str:
    value = details["input"]
    if details["type"] == "missing":
        return "nothing"
    # A variable's name may be shown whatever it is; a value written where a variable belongs may not.
    if details["loc"][-1] == "[key]":
        return brief("", value)
    if _HIDDEN_OBJECTS.intersection(location) and not isinstance(value, (dict, list)):
        return HIDDEN
    return brief(str(location[-1]), value)


def _allowed(details: ErrorDetails) -> str:
    kind = details["type"]
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(str(details["loc"][-1])) or _name_allowed(details["ctx"]["pattern"])
    if kind == "string_too_long":
        return f"text of at most {details['ctx']['max_length']} characters is allowed"
    if kind in _SENTENCES:
        return _SENTENCES[kind]
    if kind == "value_error":
        return str(details["ctx"]["error"])
    return details["msg"].replace("Input should", "it should").replace("Value should", "it should")


def _name_allowed(pattern: str) -> str:
    letters = "letters" if _LETTERS_OF_BOTH_CASES in pattern else "lower-case letters"
    return f"1 to 63 {letters}, digits, '-' and '_' are allowed"
