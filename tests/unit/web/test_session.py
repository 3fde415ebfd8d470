from __future__ import annotations

import pytest

from tests.unit.web.fakes import FakeClock
from web.session import Session

TOKEN = "correct horse"


def test_without_tokens_nobody_has_to_sign_in_and_nobody_can() -> None:
    session = Session((), FakeClock())
    assert not session.required
    assert session.issue("") is None
    assert not session.valid("1.2.3")


def test_the_right_token_gives_a_value_that_is_valid_and_tells_nothing_of_it() -> None:
    session = Session((TOKEN,), FakeClock())
    value = session.issue(TOKEN)
    assert session.required
    assert value is not None and session.valid(value)
    assert TOKEN not in value
    assert value != session.issue(TOKEN)


@pytest.mark.parametrize("wrong", ["", "wrong", TOKEN + " ", TOKEN[:-1], "ünïcode", "\udc80"])
def test_a_wrong_token_gives_nothing(wrong: str) -> None:
    assert Session((TOKEN,), FakeClock()).issue(wrong) is None


def test_a_value_runs_out_after_twelve_hours() -> None:
    clock = FakeClock()
    session = Session((TOKEN,), clock)
    value = session.issue(TOKEN)
    clock.move(hours=11, minutes=59)
    assert session.valid(value)
    clock.move(minutes=1)
    assert not session.valid(value)


def test_while_a_token_is_rotated_both_are_good_and_afterwards_the_old_one_is_not() -> None:
    clock = FakeClock()
    old = Session(("old",), clock).issue("old")
    both = Session(("new", "old"), clock)
    assert both.valid(old) and both.valid(both.issue("new")) and both.valid(both.issue("old"))
    assert not Session(("new",), clock).valid(old)


@pytest.mark.parametrize("value", [None, "", "x", "..", "9999999999.ab.cd", "9999999999", "é.é.é", "a" * 10_000])
def test_a_forged_value_is_not_valid(value: str | None) -> None:
    assert not Session((TOKEN,), FakeClock()).valid(value)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_value_changed_in_any_part_is_not_valid(place: int) -> None:
    session = Session((TOKEN,), FakeClock())
    parts = (session.issue(TOKEN) or "").split(".")
    parts[place] = ("1" if parts[place][0] != "1" else "2") + parts[place][1:]
    assert not session.valid(".".join(parts))
