"""Query parameters and bodies are checked with a sentence that says what to do."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import BaseModel
from starlette.requests import Request
from starlette.types import Message

from agent_service.errors import BodyTooLarge
from manager.api.agents import AgentActionRequest
from manager.api.operation import read_model, whole_number
from manager.errors import BadRequest
from manager.supervision.states import AgentAction


class Sized(BaseModel):
    size: int
    name: str


def request(query: str = "", body: bytes = b"") -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "query_string": query.encode(), "headers": [], "method": "POST"}, receive)


@pytest.mark.parametrize("text", ["-1", "0", "101", "1.5", "ten", "", "٣", "1" * 30, "%20"])
def test_a_number_out_of_bounds_is_refused_and_the_bounds_are_named(text: str) -> None:
    with pytest.raises(BadRequest, match="from 1 to 100"):
        whole_number(request(f"n={text}"), "n", default=None, lowest=1, highest=100)


def test_a_number_within_bounds_is_taken_and_a_missing_one_has_its_default() -> None:
    assert whole_number(request("n=42"), "n", default=7, lowest=1, highest=100) == 42
    assert whole_number(request(), "n", default=7, lowest=1, highest=100) == 7


def test_a_body_that_does_not_fit_is_refused_with_every_wrong_field_and_an_example() -> None:
    with pytest.raises(BadRequest) as refused:
        asyncio.run(read_model(request(body=b'{"size": "x"}'), Sized, example='{"size": 1}'))
    assert all(word in refused.value.detail for word in ("size", "name", '{"size": 1}'))


def test_a_body_that_fits_is_read() -> None:
    read = asyncio.run(read_model(request(body=b'{"size": 3, "name": "n"}'), Sized, example="{}"))
    assert read == Sized(size=3, name="n")


def test_a_wrong_action_is_told_all_the_right_ones_and_nothing_else() -> None:
    with pytest.raises(BadRequest) as refused:
        asyncio.run(read_model(request(body=b'{"action": "fly"}'), AgentActionRequest, example="{}"))
    words = ", ".join(f"'{action}'" for action in AgentAction)
    assert f"action: Input should be {words} or 'scale'." in refused.value.detail
    assert "literal" not in refused.value.detail


def test_a_limit_that_is_no_setting_is_not_advised_to_be_raised() -> None:
    with pytest.raises(BodyTooLarge) as refused:
        asyncio.run(read_model(request(body=b" " * (1024 * 1024 + 1)), Sized, example="{}"))
    assert str(refused.value) == "The body is over the limit of 1048576 bytes; send a smaller one."
