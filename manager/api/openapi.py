"""The OpenAPI 3.1 document, generated from the operations that are served."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from agent_service.contract import EVENT_STREAM_MEDIA_TYPE, PROBLEM_MEDIA_TYPE, TOKEN_HEADER, Problem
from manager.api.operation import Operation
from manager.version import __version__

_REFERENCE = "#/components/schemas/{model}"


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """The whole API."""
    operations = list(operations)
    references, schemas = _schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, references)
    return {
        "openapi": "3.1.0",
        "info": {"title": "agent-manager", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": TOKEN_HEADER}},
        },
    }


def _schemas(operations: list[Operation]) -> tuple[dict[tuple[type[BaseModel], str], Any], dict[str, Any]]:
    bodies = {operation.body for operation in operations if operation.body}
    answers = {operation.answer for operation in operations if isinstance(operation.answer, type)}
    wanted: list[tuple[type[BaseModel], Any]] = [
        *((model, "validation") for model in sorted(bodies, key=lambda model: model.__name__)),
        *((model, "serialization") for model in sorted(answers | {Problem}, key=lambda model: model.__name__)),
    ]
    references, definitions = models_json_schema(wanted, ref_template=_REFERENCE)
    return dict(references), definitions.get("$defs", {})  # type: ignore[arg-type]


def _operation(operation: Operation, references: dict[tuple[type[BaseModel], str], Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": _identifier(operation),
        "parameters": [*_path_parameters(operation.path), *_query_parameters(operation)],
        "responses": _responses(operation, references),
    }
    if operation.body is not None:
        schema = references[(operation.body, "validation")]
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if operation.guarded:
        described["security"] = [{"token": []}]
    return described


def _identifier(operation: Operation) -> str:
    words = re.findall(r"[A-Za-z]+", operation.path.removeprefix("/api"))
    return "_".join([operation.method.lower(), *words])


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": query.name, "in": "query", "description": query.description, "schema": query.schema}
        for query in operation.query
    ]


def _content(
    answer: type[BaseModel] | str | None, references: dict[tuple[type[BaseModel], str], Any]
) -> dict[str, Any]:
    if answer is None:
        return {}
    if isinstance(answer, str):
        return {answer: {"schema": {"type": "string"}}}
    return {"application/json": {"schema": references[(answer, "serialization")]}}


def _responses(operation: Operation, references: dict[tuple[type[BaseModel], str], Any]) -> dict[str, Any]:
    content = _content(operation.answer, references)
    if operation.streams_events:
        content[EVENT_STREAM_MEDIA_TYPE] = {"schema": {"type": "string"}}
    problem = {PROBLEM_MEDIA_TYPE: {"schema": references[(Problem, "serialization")]}}
    statuses = sorted({*operation.problems, *((401,) if operation.guarded else ())})
    answered = {"description": HTTPStatus(operation.status).phrase, **({"content": content} if content else {})}
    return {
        str(operation.status): answered,
        **{str(status): {"description": HTTPStatus(status).phrase, "content": problem} for status in statuses},
    }
