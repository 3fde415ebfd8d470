from __future__ import annotations

from typing import Any

import pytest

from agent_service.errors import EntryPointError
from agent_service.output_schema import Invalid, OutputSchema


@pytest.mark.parametrize(
    ("schema", "wrong"),
    [
        ({"type": "objekt"}, "output_schema.type"),
        ({"properties": {"a": {"minimum": "x"}}}, "output_schema.properties.a.minimum"),
        ({"$ref": "#/$defs/missing"}, "missing"),
        ({"items": {"$ref": "https://example.org/schema.json"}}, "nothing is fetched"),
    ],
)
def test_what_is_no_schema_is_refused_with_its_path(schema: dict[str, Any], wrong: str) -> None:
    with pytest.raises(EntryPointError, match=wrong.replace("$", r"\$")):
        OutputSchema(schema)


def test_references_within_the_schema_hold() -> None:
    schema = OutputSchema({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}})
    assert schema.read(" 7 ") == 7


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"items": [{"name": 1}]}', "$.items[0].name"),
        ('{"items": [{}]}', "$.items[0]"),
        ('{"items": "x"}', "$.items"),
        ("no JSON", "$"),
        ('{"items": [NaN]}', "$"),
    ],
)
def test_an_answer_is_refused_with_the_path_of_what_is_wrong(text: str, path: str) -> None:
    item = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    schema = OutputSchema({"type": "object", "properties": {"items": {"type": "array", "items": item}}})
    with pytest.raises(Invalid) as caught:
        schema.read(text)
    assert caught.value.path == path
