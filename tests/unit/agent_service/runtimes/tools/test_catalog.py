from __future__ import annotations

from typing import Any

import pytest
from mcp.types import CallToolResult

from agent_service.runtimes.tools.catalog import read_catalog, schema_problem
from agent_service.runtimes.tools.errors import CallFailed
from tests.unit.agent_service.runtimes.tools.fake_server import SCHEMA, listed

NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def test_only_allowed_tools_are_read_and_a_name_that_is_not_there_is_told() -> None:
    catalog = read_catalog([listed("a"), {"name": "b", "inputSchema": 7}], ["a", "c"])
    assert [tool.name for tool in catalog.tools] == ["a"]
    assert catalog.warnings == ("allowed_tools names 'c', which the server does not have.",)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("a text", "valid dictionary"),
        ({"inputSchema": SCHEMA}, "name: Field required"),
        ({"name": "x", "inputSchema": "text"}, "inputSchema: Input should be a valid dictionary"),
        (listed("x") | {"inputSchema": {"type": "array"}}, "describes 'array' and not an object"),
        (listed("x") | {"inputSchema": {"type": "object", "properties": 7}}, "no JSON Schema"),
        (listed("x") | {"inputSchema": {"properties": {"a": {"$ref": "#/$defs/b"}}}}, "'#/$defs/b' leads nowhere"),
        (listed("x") | {"inputSchema": {"properties": {"a": {"$ref": "http://b/c"}}}}, "'http://b/c' leads nowhere"),
        (listed("x", outputSchema={"type": "no type"}), "its output schema is no JSON Schema"),
    ],
)
def test_an_unsound_tool_is_left_out_with_the_reason_and_the_others_stay(raw: Any, why: str) -> None:
    catalog = read_catalog([raw, listed("sound")], None)
    assert [tool.name for tool in catalog.tools] == ["sound"]
    assert len(catalog.warnings) == 1 and why in catalog.warnings[0], catalog.warnings


def test_a_schema_as_deep_as_the_sea_is_left_out() -> None:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(5000):
        schema = {"type": "object", "properties": {"a": schema}}
    assert [tool.name for tool in read_catalog([listed("x") | {"inputSchema": schema}, listed("y")], None).tools] == [
        "y"
    ]


def test_a_doubled_tool_is_told_and_the_first_one_is_used() -> None:
    catalog = read_catalog([listed("a", description="first"), listed("a", description="second")], None)
    assert [tool.description for tool in catalog.tools] == ["first"]
    assert "listed twice" in catalog.warnings[0]


def test_what_a_schema_leaves_out_is_added() -> None:
    assert read_catalog([{"name": "a", "inputSchema": {}}], None).tools[0].input_schema == SCHEMA


def test_references_may_lead_in_circles() -> None:
    tree = {"type": "object", "properties": {"left": {"$ref": "#/$defs/a~1b"}}, "$defs": {"a/b": {"$ref": "#"}}}
    assert read_catalog([listed("a") | {"inputSchema": tree}], None).warnings == ()
    assert schema_problem('{"allOf": [{"$ref": "#/allOf/1"}, true]}') is None
    assert schema_problem('{"allOf": [{"$ref": "#/allOf/2"}, true]}') is not None


def test_the_same_list_makes_the_same_catalog() -> None:
    tools = [listed("a", outputSchema=NUMBER)]
    assert read_catalog(tools, None) == read_catalog(tools, None)
    assert read_catalog(tools, None) != read_catalog([listed("a", outputSchema=SCHEMA)], None)


@pytest.mark.parametrize(
    ("structured", "why"),
    [
        ({"n": "seven"}, r"at \$.n: 'seven' is not of type 'integer'"),
        ({}, "'n' is a required"),
        (None, "no structured"),
    ],
)
def test_a_result_is_held_against_its_own_schema(structured: dict[str, Any] | None, why: str) -> None:
    tool = read_catalog([listed("a", outputSchema=NUMBER)], None).tools[0]
    with pytest.raises(CallFailed, match=why):
        tool.check(CallToolResult(content=[], structuredContent=structured))


def test_an_error_and_a_tool_without_schema_promise_nothing() -> None:
    strict, free = read_catalog([listed("a", outputSchema=NUMBER), listed("b")], None).tools
    strict.check(CallToolResult(content=[], isError=True))
    strict.check(CallToolResult(content=[], structuredContent={"n": 7}))
    free.check(CallToolResult(content=[], structuredContent={"any": "thing"}))
