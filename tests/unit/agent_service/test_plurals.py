from __future__ import annotations

from agent_service.plurals import count_text


def test_one_is_told_apart_from_none_and_many() -> None:
    assert [count_text(count, "error") for count in (0, 1, 2)] == ["0 errors", "1 error", "2 errors"]
