from __future__ import annotations

import pytest

from agent_service.http.field_values import are_clean


@pytest.mark.parametrize("number", [*range(0x09), *range(0x0A, 0x20), 0x7F])
def test_no_control_character_passes(number: int) -> None:
    assert not are_clean([b"a", b"b" + bytes([number]) + b"c"])


def test_all_else_passes() -> None:
    assert are_clean([b"\t", bytes(range(0x20, 0x7F)), bytes(range(0x80, 0x100)), b""])
    assert are_clean([])
