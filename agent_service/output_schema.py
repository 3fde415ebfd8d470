"""The schema of an agent's answers (JSON Schema, draft 2020-12): what is wrong with it, and with an answer.

The manager judges it by the same rules when it reads the config. Imports jsonschema, which takes a moment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import referencing
import referencing.exceptions
from jsonschema import Draft202012Validator, SchemaError
from jsonschema.exceptions import best_match
from referencing.jsonschema import DRAFT202012

from agent_service.errors import EntryPointError
from agent_service.issues import ConfigIssue, json_path

Schema = dict[str, Any]

_FENCED = re.compile(r"\s*```(?:json)?\s*\n(?P<body>.*)\n\s*```\s*", re.DOTALL)
_LONGEST = 500


class Invalid(Exception):
    """`path`: where in the answer."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


class OutputSchema:
    """One schema. It is never fetched from anywhere. Raises `EntryPointError` when it is none."""

    def __init__(self, schema: Schema) -> None:
        if (issue := schema_issue(schema, "output_schema")) is not None:
            raise EntryPointError(f"{issue}.")
        self.schema = schema
        self._validator = Draft202012Validator(schema, registry=referencing.Registry())

    def read(self, text: str) -> Any:
        """The value that the text holds, in a code fence or not. Raises `Invalid`."""
        fenced = _FENCED.fullmatch(text)
        try:
            value = json.loads(fenced["body"] if fenced else text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise Invalid("$", f"the answer is no JSON ({error})") from error
        self.check(value)
        return value

    def check(self, value: Any) -> None:
        """Raises `Invalid` for the most telling place where the value breaks the schema."""
        error = best_match(self._validator.iter_errors(value))
        if error is not None:
            raise Invalid(_path("$", error.absolute_path), error.message[:_LONGEST])


def schema_issue(schema: Schema, path: str) -> ConfigIssue | None:
    """Why `schema`, written at `path`, is no schema that answers can be held to; None where it is one."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        found = f"what is no JSON Schema ({error.message[:_LONGEST]})"
        return ConfigIssue(_path(path, error.absolute_path), found, "correct it there: draft 2020-12 is allowed")
    return _unresolvable(schema, path)


def _unresolvable(schema: Schema, path: str) -> ConfigIssue | None:
    resource: referencing.Resource[Any] = referencing.Resource.from_contents(schema, DRAFT202012)
    resolver = referencing.Registry().with_resource("", resource).resolver()
    for reference in references_in(schema):
        try:
            resolver.lookup(reference)
        except referencing.exceptions.Unresolvable:
            found = f"a reference to {reference!r}, which is not in it"
            return ConfigIssue(path, found, "put it below $defs: nothing is fetched")
    return None


def references_in(schema: Any) -> Iterator[str]:
    """Every `$ref` of a schema, at any depth."""
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for value in schema.values():
            yield from references_in(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references_in(value)


def _path(root: str, parts: Any) -> str:
    for part in parts:
        root = json_path(root, part)
    return root


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
