"""The OpenAPI document comes from the operations and holds together."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from manager.api.openapi import document
from manager.api.operation import Operation, QueryParameter


class Answer(BaseModel):
    number: int


class Body(BaseModel):
    text: str


async def handler(request: Request) -> Response:
    return Response()


@pytest.fixture
def described() -> dict[str, Any]:
    return document(
        [
            Operation("GET", "/things", "All things", handler, Answer, query=(QueryParameter("q", "What", {}),)),
            Operation(
                "POST", "/things/{thing_id}", "Change", handler, Answer, body=Body, problems=(404,), guarded=True
            ),
            Operation("GET", "/page", "Text", handler, "text/plain", streams_events=True),
        ]
    )


def test_every_operation_is_described_with_its_parameters_body_and_answers(described: dict[str, Any]) -> None:
    assert described["openapi"] == "3.1.0"
    assert described["paths"]["/things"]["get"]["parameters"][0]["name"] == "q"
    change = described["paths"]["/things/{thing_id}"]["post"]
    assert change["parameters"] == [{"name": "thing_id", "in": "path", "required": True, "schema": {"type": "string"}}]
    assert set(change["responses"]) == {"200", "401", "404"}
    assert change["security"] == [{"token": []}]
    assert set(described["paths"]["/page"]["get"]["responses"]["200"]["content"]) == {"text/plain", "text/event-stream"}


def test_every_reference_leads_to_a_schema(described: dict[str, Any]) -> None:
    text = json.dumps(described)
    schemas = described["components"]["schemas"]
    names = [part.split('"')[0] for part in text.split("#/components/schemas/")[1:]]
    assert names and set(names) <= set(schemas)


def test_operation_ids_are_unique(described: dict[str, Any]) -> None:
    ids = [operation["operationId"] for path in described["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))
