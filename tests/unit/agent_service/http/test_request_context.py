from __future__ import annotations

import re

import pytest

from agent_service.http.request_context import request_context

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


def context(*pairs: tuple[str, str]) -> tuple[str, str]:
    made = request_context([(key.encode(), value.encode("latin-1")) for key, value in pairs])
    return made.request_id, made.traceparent


@pytest.mark.parametrize("value", ["a", "x" * 128, "!~", "9f1c-ab/cd=="])
def test_a_visible_request_id_is_kept(value: str) -> None:
    assert context(("x-request-id", value))[0] == value


@pytest.mark.parametrize("value", ["", "x" * 129, "a b", "a\tb", "caf\xe9"])
def test_any_other_request_id_is_replaced(value: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", context(("x-request-id", value))[0])


def test_two_request_ids_are_none() -> None:
    assert context(("x-request-id", "a"), ("x-request-id", "b"))[0] not in ("a", "b")


@pytest.mark.parametrize(
    "value", [f"00-{TRACE}-{SPAN}-01", f"01-{TRACE}-{SPAN}-00", f"cc-{TRACE}-{SPAN}-01-what-comes"]
)
def test_a_valid_traceparent_is_kept(value: str) -> None:
    assert context(("traceparent", value))[1] == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"cc-{TRACE}-{SPAN}-01{'-x' * 300}",
    ],
)
def test_any_other_traceparent_is_replaced(value: str) -> None:
    made = context(("traceparent", value))[1]
    assert made != value
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", made)
