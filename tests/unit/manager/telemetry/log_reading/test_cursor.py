from __future__ import annotations

import base64
import zlib

import pytest

from manager.errors import BadRequest
from manager.telemetry.log_reading.cursor import Cursor


def test_a_cursor_survives_as_text_for_a_url() -> None:
    cursor = Cursor("newer", {"planner": {12: 345, 13: 0}, "b": {}})
    text = cursor.encode()
    assert Cursor.decode(text) == cursor
    assert text.replace("-", "").replace("_", "").isalnum()


def test_the_cursor_of_a_large_fleet_fits_into_a_header() -> None:
    fleet = {f"agent-{number:03}": {4: number * 12_345_678, 5: number * 7_654_321} for number in range(200)}
    assert len(Cursor("newer", fleet).encode()) < 6000


def packed(text: bytes) -> str:
    return base64.urlsafe_b64encode(zlib.compress(text)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "====",
        "abc",
        "ü",
        packed(b"[]"),
        packed(b'["x", {}]'),
        packed(b'["n", {"a": 1}]'),
        packed(b"0" * 2_000_000),
    ],
)
def test_what_is_no_cursor_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(BadRequest, match=r"^cursor is "):
        Cursor.decode(text)
