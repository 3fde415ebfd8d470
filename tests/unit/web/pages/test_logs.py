from __future__ import annotations

import json

import pytest

from manager.errors import BadRequest
from tests.unit.web.asking import HTMX, get, text_of
from tests.unit.web.fakes import World, view


def line(number: int, **fields: object) -> str:
    at = f"2026-03-04T12:00:{number % 60:02}.000Z"
    return json.dumps({"timestamp": at, "level": "info", "event": f"line {number}.", **fields})


def world(count: int = 3) -> World:
    made = World(view("planner"), view("echo"))
    made.logs.lines["planner"] = [line(number) for number in range(count)]
    made.logs.lines["echo"] = ["hello from echo"]
    return made


def test_the_newest_lines_of_all_agents_are_on_the_page() -> None:
    page = get(world(300), "/logs")
    assert page.status_code == 200
    assert "line 299." in page.text and "line 99." not in page.text and "hello from echo" in page.text
    assert 'href="/logs?&amp;cursor=before"' in page.text


def test_filters_reach_the_reader_and_stay_in_the_form() -> None:
    made = world()
    page = get(made, "/logs?agent=planner%2C+echo&level=error&text=fell&regex=&request=r-1").text
    query = made.logs.asked[0]
    assert (query.agents, query.level, query.text, query.regex, query.request) == (
        ("planner", "echo"),
        "error",
        "fell",
        None,
        "r-1",
    )
    assert 'value="fell"' in page and 'value="error" selected' in page and 'value="r-1"' in page


def test_a_ticked_box_makes_the_text_a_regular_expression() -> None:
    made = world()
    get(made, "/logs?text=a.b&regex=1")
    assert (made.logs.asked[0].text, made.logs.asked[0].regex) == (None, "a.b")


def test_a_moment_begins_there_and_does_not_follow() -> None:
    made = world()
    page = get(made, "/logs?at=2026-03-04T11:00:00Z").text
    assert made.logs.asked[0].order == "oldest" and made.logs.asked[0].since.hour == 11
    assert 'data-follows="no"' in page
    assert 'data-follows="yes"' in get(made, "/logs").text


@pytest.mark.parametrize(("query", "status"), [("level=loud", 400), ("at=soon", 400), ("agent=ghost", 404)])
def test_a_filter_that_cannot_be_read_is_told_above_the_form(query: str, status: int) -> None:
    page = get(world(), f"/logs?{query}")
    assert page.status_code == status and "Not filtered." in page.text and 'id="log-filter"' in page.text


def test_a_page_of_lines_is_a_fragment_with_its_cursors() -> None:
    fragment = get(world(300), "/ui/logs?agent=planner", headers=HTMX).text
    assert 'data-older="before" data-newer="300"' in fragment and "<html" not in fragment


def test_a_refusal_of_the_reader_is_told_where_the_lines_would_be() -> None:
    made = world()
    made.logs.refusal = BadRequest("regex is too slow; simplify it.")
    answer = get(made, "/ui/logs?text=x", headers=HTMX)
    assert answer.status_code == 400 and "simplify it" in answer.text


def test_what_matches_can_be_downloaded_as_it_was_written() -> None:
    made = world()
    one = get(made, "/ui/logs/download?agent=planner")
    assert one.headers["content-disposition"] == 'attachment; filename="planner.log.txt"'
    assert one.text.splitlines() == [line(number) for number in range(3)]
    assert made.logs.asked[-1].order == "oldest"
    assert get(made, "/ui/logs/download").text.splitlines()[-1] == "echo | hello from echo"


def test_a_download_that_cannot_be_begun_is_a_page_and_no_file() -> None:
    made = world()
    made.logs.refusal = BadRequest("regex is too slow; simplify it.")
    answer = get(made, "/ui/logs/download?text=x")
    assert answer.status_code == 400 and "content-disposition" not in answer.headers


def test_a_line_opens_to_all_its_fields() -> None:
    made = world(0)
    made.logs.lines["planner"] = [line(1, logger="x.y", took_ms=5, request_id="r-9")]
    page = get(made, "/logs").text
    assert "took_ms=5" in page and "logger=x.y" not in page and "logger      x.y" in page
    assert 'href="/logs?request=r-9"' in page


def test_what_an_agent_logs_is_text_and_not_markup() -> None:
    made = world(0)
    made.logs.lines["planner"] = ["<script>alert(1)</script>", json.dumps({"event": "x", "<b>": "<img src=x>"})]
    page = get(made, "/logs").text
    assert "<script>alert" not in page and "<img" not in page and "<b>" not in page


def test_no_line_that_fits_is_said() -> None:
    assert "No line that fits" in text_of(get(world(0), "/logs?agent=planner"))


def test_a_stream_that_cannot_go_on_says_why_and_ends() -> None:
    made = world()
    made.logs.refusal = BadRequest("the log is gone; restart planner.")
    answer = get(made, "/ui/logs/stream?agent=planner&cursor=1")
    events = answer.text.split("\n\n")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert events[1].startswith("event: problem\n") and "restart planner" in events[1]


def test_the_stream_goes_on_where_the_browser_was_cut_off() -> None:
    made = world()
    made.logs.refusal = BadRequest("enough")
    get(made, "/ui/logs/stream?cursor=1", headers={"Last-Event-ID": "2"})
    assert made.logs.asked[-1].cursor == "2"
