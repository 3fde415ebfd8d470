from __future__ import annotations

import re

import pytest

from manager.events import EventKind
from tests.unit.web.asking import HTMX, get, text_of
from tests.unit.web.fakes import World, view


def world(count: int = 0) -> World:
    made = World(view("planner"), view("echo"))
    for number in range(1, count + 1):
        made.happen(f"fact {number}.", "planner" if number % 2 else "echo")
    return made


def facts(page: str) -> list[int]:
    return [int(number) for number in re.findall(r"fact (\d+)\.", page)]


def link(page: str, label: str) -> str | None:
    found = re.search(rf'href="(/events[^"]*)"[^>]*>{label}<', page)
    return found[1].replace("&amp;", "&") if found else None


def test_the_newest_come_first_and_the_others_are_a_page_away() -> None:
    made = world(250)
    first = get(made, "/events")
    assert facts(first.text) == [*range(250, 150, -1)]
    second = get(made, link(first.text, "Older") or "")
    assert facts(second.text) == [*range(150, 50, -1)]
    third = get(made, link(second.text, "Older") or "")
    assert facts(third.text) == [*range(50, 0, -1)] and link(third.text, "Older") is None
    assert facts(get(made, link(third.text, "Newer") or "").text) == [*range(150, 50, -1)]
    assert link(third.text, "Newest") == "/events"


def test_filters_hold_on_every_page() -> None:
    made = world(300)
    first = get(made, "/events?agent=echo&kind=&text=fact")
    assert facts(first.text) == [*range(300, 100, -2)]
    older = link(first.text, "Older") or ""
    assert "agent=echo" in older and "text=fact" in older and "kind" not in older
    assert facts(get(made, older).text) == [*range(100, 0, -2)]


def test_the_form_keeps_what_was_asked() -> None:
    page = get(world(), "/events?agent=echo&kind=failed&actor=anna&text=x%22y&since=2h").text
    for piece in ('value="echo"', 'value="failed" selected', 'value="anna"', 'value="x&#34;y"', 'value="2h"'):
        assert piece in page


@pytest.mark.parametrize("query", ["kind=nothing", "since=yesterday", "before=x", "after=-1", "before=" + "9" * 30])
def test_a_filter_that_cannot_be_read_is_told_above_the_form(query: str) -> None:
    page = get(world(3), f"/events?{query}")
    assert page.status_code == 400 and "Not filtered." in page.text and facts(page.text) == []


def test_only_the_newest_page_grows_by_itself() -> None:
    made = world(150)
    assert 'data-live="events" hx-get="/ui/events"' in get(made, "/events").text
    assert 'hx-get="/ui/events?agent=echo"' in get(made, "/events?agent=echo").text
    assert "data-live" not in get(made, "/events?before=50").text.split("<main")[1]
    assert "data-live" not in get(made, "/events?until=2030-01-01T00:00:00Z").text.split("<main")[1]


def test_the_rows_alone_are_a_fragment() -> None:
    rows = get(world(3), "/ui/events?agent=echo", headers=HTMX)
    assert facts(rows.text) == [2] and "<html" not in rows.text


def test_an_event_tells_who_and_why_and_opens_to_everything_else() -> None:
    made = world()
    made.bus.publish(
        EventKind.DESIRED_CHANGED, "anna asked planner to stop", agent_id="planner", actor="anna", reason="too slow"
    )
    page = get(made, "/events")
    assert "anna asked planner to stop" in page.text and "too slow" in page.text
    assert 'href="/agents/planner"' in page.text and "/logs?agent=planner&amp;at=2026-03-04T12:00:00.000Z" in page.text


def test_a_history_that_cannot_be_read_says_so() -> None:
    made = world(3)
    made.history.unreadable = True
    page = get(made, "/events")
    assert page.status_code == 503 and "The disk is full; make room." in page.text


def test_nothing_that_fits_is_said() -> None:
    assert "Nothing has happened yet that fits." in text_of(get(world(3), "/events?text=never"))


def test_what_an_event_says_is_text_and_not_markup() -> None:
    made = world()
    made.happen("<script>alert(1)</script>", note="<img src=x>")
    page = get(made, "/events").text
    assert "<script>alert" not in page and "<img src=x" not in page


def test_an_agent_that_is_none_is_told_as_such() -> None:
    page = get(world(3), "/events?agent=nope")
    assert page.status_code == 404 and "Not filtered. There is no agent" in text_of(page)
    assert "Nothing has happened" not in page.text
    assert get(world(3), "/ui/events?agent=nope", headers=HTMX).status_code == 404


def test_an_agent_that_is_gone_is_known_by_its_past() -> None:
    made = world()
    made.happen("gone was here.", "gone")
    assert "gone was here." in get(made, "/events?agent=gone").text
    page = get(made, "/events?agent=gone&text=else")
    assert page.status_code == 200 and "Nothing has happened yet that fits." in page.text
