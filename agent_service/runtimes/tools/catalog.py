"""The tools that a server offers: checked one by one, since one bad schema makes a model refuse the whole request."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from jsonschema import Draft7Validator
from jsonschema.exceptions import best_match
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from mcp.types import CallToolResult, Tool
from pydantic import ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

from agent_service.output_schema import references_in
from agent_service.runtimes.tools.errors import CallFailed

_FOUND_CHARACTERS = 200


@dataclass(frozen=True)
class ServerTool:
    """One tool under the name that its server gave it."""

    name: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None
    annotations: dict[str, Any]
    validator: Validator | None = field(repr=False, compare=False)

    @property
    def repeatable(self) -> bool:
        """It only reads, or a second call with the same arguments changes nothing more."""
        return bool(self.annotations.get("readOnlyHint") or self.annotations.get("idempotentHint"))

    def check(self, result: CallToolResult) -> None:
        """Raises `CallFailed` for a result that is not what the server said it would be."""
        if self.validator is None or result.isError:
            return
        if result.structuredContent is None:
            raise CallFailed("its result has no structured content, though its output schema demands one")
        try:
            error = best_match(self.validator.iter_errors(result.structuredContent))
        except Unresolvable as unresolvable:
            raise CallFailed(f"its output schema refers to {unresolvable.ref}, which is nowhere") from unresolvable
        if error is not None:
            raise CallFailed(f"its result breaks its own output schema at {error.json_path}: {error.message:.200}")


@dataclass(frozen=True)
class Catalog:
    """What an agent may use of a server, and sentences on what it may not use and why."""

    tools: tuple[ServerTool, ...] = ()
    warnings: tuple[str, ...] = ()


def read_catalog(listed: Iterable[Any], allowed: Sequence[str] | None) -> Catalog:
    """Of the tools as they came, those that are allowed and sound, in their order.

    Takes a millisecond for each schema that it has not seen before: for a thread.
    """
    tools: dict[str, ServerTool] = {}
    names: set[str] = set()
    warnings: list[str] = []
    for raw in listed:
        name = raw.get("name") if isinstance(raw, dict) else None
        if allowed is not None and name not in allowed:
            continue
        names.add(str(name))
        try:
            tool = _read_tool(raw)
        except (ValueError, RecursionError) as error:
            warnings.append(f"The tool {name!r:.100} is left out: {error}.")
            continue
        if tool.name in tools:
            warnings.append(f"The tool {name!r:.100} is listed twice; the first is used.")
        tools.setdefault(tool.name, tool)
    missing = [name for name in allowed or () if name not in names]
    warnings += [f"allowed_tools names {name!r}, which the server does not have." for name in missing]
    return Catalog(tuple(tools.values()), tuple(warnings))


def _read_tool(raw: Any) -> ServerTool:
    try:
        tool = Tool.model_validate(raw)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}") from error
    schema = {"type": "object", "properties": {}, **tool.inputSchema}
    if schema["type"] != "object":
        raise ValueError(f"its input schema describes {_found(schema['type'])} and not an object")
    if problem := schema_problem(json.dumps(schema, sort_keys=True)):
        raise ValueError(f"its input schema is no JSON Schema ({problem})")
    annotations = {} if tool.annotations is None else tool.annotations.model_dump(exclude_none=True)
    validator = _output_validator(tool.outputSchema)
    return ServerTool(tool.name, tool.description or "", schema, tool.outputSchema, annotations, validator)


def _output_validator(schema: dict[str, Any] | None) -> Validator | None:
    if schema is None:
        return None
    if problem := schema_problem(json.dumps(schema, sort_keys=True)):
        raise ValueError(f"its output schema is no JSON Schema ({problem})")
    # An empty registry: whatever a schema refers to is in it, and nothing is fetched.
    validator: Validator = validator_for(schema)(schema, registry=Registry())
    return validator


@lru_cache(maxsize=1024)
def schema_problem(text: str) -> str | None:
    """What is wrong with a JSON Schema, given as JSON; None where nothing is, and no reference leads out of it."""
    schema = json.loads(text)
    # Draft 7 says the same of all that tools use as the newest one, in a fifth of the time.
    error = best_match(Draft7Validator(Draft7Validator.META_SCHEMA).iter_errors(schema))
    if error is not None:
        return f"{error.json_path}: {error.message:.200}"
    return next((f"{ref!r:.100} leads nowhere" for ref in references_in(schema) if not _resolves(schema, ref)), None)


def _resolves(schema: Any, ref: str) -> bool:
    if not ref.startswith("#"):
        return False
    for part in ref[1:].split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(schema, dict) and key in schema:
            schema = schema[key]
        elif isinstance(schema, list) and key.isdigit() and int(key) < len(schema):
            schema = schema[int(key)]
        else:
            return False
    return True


def _found(value: Any) -> str:
    return repr(value)[:_FOUND_CHARACTERS]
