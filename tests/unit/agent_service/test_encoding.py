from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

from agent_service.encoding import encode
from agent_service.errors import ResultNotJson


class Model(BaseModel):
    x: int


@dataclass
class Data:
    model: Model


class Array:
    def tolist(self) -> list[float]:
        return [1.5, float("nan")]


class Shown:
    def __str__(self) -> str:
        return "as a person sees it"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, None, True, "ü"]}, {"a": [1, None, True, "ü"]}),
        (float("nan"), None),
        ([float("inf"), -float("inf")], [None, None]),
        (Data(Model(x=1)), {"model": {"x": 1}}),
        ({1: "a", (1, 2): "b"}, {"1": "a", "1,2": "b"}),
        ({3}, [3]),
        (Decimal("1.50"), "1.50"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
        (b"text", "text"),
        (b"\xff\x00", "_wA="),
        (Array(), [1.5, None]),
        ([Shown()], ["as a person sees it"]),
    ],
)
def test_python_values_become_json(value: Any, expected: Any) -> None:
    assert json.loads(encode(value)) == expected


def test_the_json_is_one_line() -> None:
    assert b"\n" not in encode({"text": "a\nb\r\n"})


class Unshowable:
    def __str__(self) -> str:
        raise TypeError("no")


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize("value", [endless(), "\ud800", Unshowable()])
def test_what_has_no_json_form_is_an_error_that_says_so(value: Any) -> None:
    with pytest.raises(ResultNotJson, match=rf"of type {type(value).__name__}, cannot .* Let the agent return"):
        encode(value)
