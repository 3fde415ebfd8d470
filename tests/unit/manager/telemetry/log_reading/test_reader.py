from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent_service.log_files import LogLimits, keep_within, numbered, rotated_files
from manager.errors import BadRequest
from manager.telemetry.log_reading import reader as reader_module
from manager.telemetry.log_reading import sources
from manager.telemetry.log_reading.entry import LogPage
from tests.unit.agent_service.platform_marks import linux_only
from tests.unit.manager.telemetry.log_reading.logbook import START, Logbook, line, messages


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Logbook:
    # However busy the machine is: each reads all that there is.
    monkeypatch.setattr(reader_module, "PAGE_SECONDS", 600.0)
    return Logbook(tmp_path)


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


def write_numbers(book: Logbook, agent: str, first: int, last: int) -> None:
    book.write(agent, *(line(number, str(number)) for number in range(first, last + 1)))


def test_there_are_no_lines_before_there_is_a_log(book: Logbook) -> None:
    page = book.page("a")
    assert (page.entries, page.older, page.complete) == ([], None, True)
    write_numbers(book, "a", 1, 2)
    assert book.said("a", cursor=page.newer) == ["1", "2"]


def test_the_newest_lines_come_oldest_first(book: Logbook) -> None:
    write_numbers(book, "a", 1, 9)
    assert book.said("a", lines=3) == ["7", "8", "9"]
    assert book.said("a", lines=3, order="oldest") == ["1", "2", "3"]


def test_pages_lead_back_and_forth_without_a_gap(book: Logbook) -> None:
    write_numbers(book, "a", 1, 10)
    page = book.page("a", lines=3)
    older = book.page("a", lines=3, cursor=page.older)
    oldest = book.page("a", lines=9, cursor=older.older)
    assert (messages(older.entries), messages(oldest.entries)) == (["5", "6", "7"], ["1", "2", "3", "4"])
    assert oldest.older is None
    assert book.said("a", lines=3, cursor=older.newer) == ["8", "9", "10"]
    assert book.said("a", lines=2, cursor=oldest.newer) == ["5", "6"]
    forward = book.page("a", lines=2, cursor=oldest.newer)
    assert forward.older is not None and book.said("a", lines=9, cursor=forward.older) == ["1", "2", "3", "4"]


def test_lines_of_many_agents_are_merged_by_time_and_stay_in_the_order_of_each(book: Logbook) -> None:
    book.write("a", line(1, "a1"), "raw of a", line(4, "a4"))
    book.write("b", line(2, "b2"), line(3, "b3"), line(5, "b5"))
    assert book.said() == ["a1", "raw of a", "b2", "b3", "a4", "b5"]
    page = book.page(lines=2)
    assert messages(page.entries) == ["a4", "b5"]
    assert book.said(lines=9, cursor=page.older) == ["a1", "raw of a", "b2", "b3"]
    assert book.said(order="oldest", lines=4) == ["a1", "raw of a", "b2", "b3"]


def test_all_agents_are_those_with_a_log_but_not_the_manager_itself(book: Logbook) -> None:
    for agent in ("a", "gone", "manager", "access"):
        book.write(agent, line(1, agent))
    assert sorted(book.said()) == ["a", "gone"]
    assert book.said("manager") == ["manager"]


def test_rotated_files_belong_to_the_log_whichever_way_it_is_read(book: Logbook) -> None:
    for last in (3, 6, 9):
        write_numbers(book, "a", last - 2, last)
        book.rotate("a")
    assert book.said("a") == book.said("a", order="oldest") == numbers(1, 9)
    assert book.said("a", lines=4) == numbers(6, 9)


def test_a_page_goes_on_where_it_ended_although_the_log_was_rotated_since(book: Logbook) -> None:
    write_numbers(book, "a", 1, 6)
    page = book.page("a", lines=2)
    book.rotate("a")
    write_numbers(book, "a", 7, 8)
    book.rotate("a")
    write_numbers(book, "a", 9, 9)
    assert book.said("a", cursor=page.older) == numbers(1, 4)
    assert book.said("a", cursor=page.newer) == numbers(7, 9)


def test_what_is_written_late_into_a_rotated_file_is_found(book: Logbook) -> None:
    write_numbers(book, "a", 1, 2)
    page = book.page("a")
    late = book.rotate("a")
    write_numbers(book, "a", 4, 4)
    with late.open("a") as file:
        file.write(line(3, "3") + "\n")
    assert book.said("a", cursor=page.newer) == ["3", "4"]


def test_time_is_a_range_over_files_and_within_them(book: Logbook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manager.telemetry.log_reading.blocks._SEEK_BYTES", 200)
    write_numbers(book, "a", 1, 50)
    book.rotate("a")
    write_numbers(book, "a", 51, 100)
    since, until = START + timedelta(seconds=40), START + timedelta(seconds=60)
    for order in ("newest", "oldest"):
        assert book.said("a", since=since, until=until, order=order) == numbers(40, 60)
        assert book.said("a", until=START + timedelta(seconds=3), order=order) == numbers(1, 3)
        assert book.said("a", since=START + timedelta(seconds=99), order=order) == numbers(99, 100)


def test_of_a_time_range_only_what_may_be_in_it_is_read(book: Logbook, monkeypatch: pytest.MonkeyPatch) -> None:
    write_numbers(book, "a", 1, 20_000)
    read: list[int] = []
    inner = sources.runs_of
    monkeypatch.setattr(sources, "runs_of", lambda block: read.append(len(block.data)) or inner(block))
    since = START + timedelta(seconds=19_990)
    assert book.said("a", since=since, order="oldest") == numbers(19_990, 20_000)
    assert sum(read) < book.logs.size("a") / 2


def test_filters_hold_together(book: Logbook) -> None:
    book.write(
        "a",
        line(1, "x", request_id="r", level="error"),
        line(2, "x", request_id="r"),
        line(3, "y", request_id="s", level="error"),
    )
    assert len(book.said("a", request="r", level="warning")) == 1
    assert book.said("a", text="Y", level="error") == ["y"]
    assert book.said("a", regex='"event": "[xy]"', lines=2) == ["x", "y"]


def test_raw_lines_are_understood_from_what_stands_far_before_them(book: Logbook) -> None:
    book.write("a", line(1, "structured"), *("raw" for _ in range(3000)))
    page = book.page("a", lines=2)
    assert [(each.message, each.at, each.instance_id) for each in page.entries] == [
        ("raw", START + timedelta(seconds=1), "i-1")
    ] * 2
    assert len(book.said("a", lines=10_000, since=START)) == 3001


def test_a_last_line_without_an_end_is_shown_and_comes_again_when_it_is_whole(book: Logbook) -> None:
    book.write("a", "whole")
    book.write("a", "hal", end="")
    page = book.page("a")
    assert messages(page.entries) == ["whole", "hal"]
    assert book.said("a", cursor=page.newer) == []
    book.write("a", "f")
    assert book.said("a", cursor=page.newer) == ["half"]


def test_windows_line_ends_and_progress_bars_are_lines_as_people_see_them(book: Logbook) -> None:
    book.logs.path("a").write_bytes(b"one\r\n10%\r20%\r100%\ntwo\n")
    assert book.said("a") == ["one", "10%\r20%\r100%", "two"]


@linux_only
def test_a_log_whose_beginning_was_released_is_read_from_its_first_whole_line(book: Logbook) -> None:
    write_numbers(book, "a", 1, 1000)
    keep_within(book.logs.path("a"), LogLimits(max_bytes=10_000, max_files=2))
    kept = book.said("a", lines=10_000)
    assert kept == numbers(1000 - len(kept) + 1, 1000) and 50 < len(kept) < 500
    assert book.said("a", lines=10_000, order="oldest") == kept


def test_a_search_tells_what_it_finds_as_it_finds_it(book: Logbook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "SEARCH_SECONDS", 0.0)
    write_numbers(book, "a", 1, 40)
    pages = book.search("a", lines=30)
    assert len(pages) > 1 and pages[-1].complete
    assert [number for page in reversed(pages) for number in messages(page.entries)] == numbers(11, 40)
    forwards = book.search("a", lines=30, order="oldest")
    assert [number for page in forwards for number in messages(page.entries)] == numbers(1, 30)


def test_a_page_ends_when_its_time_is_over_and_the_next_goes_on(book: Logbook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "PAGE_SECONDS", 0.0)
    write_numbers(book, "a", 1, 5)
    found: list[str] = []
    page: LogPage | None = None
    while page is None or page.older is not None:
        page = book.page("a", cursor=page.older if page else None, text="3")
        found += messages(page.entries)
    assert found == ["3"]


@pytest.mark.parametrize("direction", ["older", "newer"])
def test_every_line_of_many_rotated_logs_is_read_once_and_in_order(book: Logbook, direction: str) -> None:
    for last in range(10, 101, 10):
        for agent in ("a", "b", "c"):
            write_numbers(book, agent, last - 9, last)
            if last % 30 == 0:
                book.rotate(agent)
    found: dict[str, list[str]] = {"a": [], "b": [], "c": []}
    criteria: dict[str, Any] = {"lines": 7, "order": "oldest" if direction == "newer" else "newest"}
    page = book.page(**criteria)
    while page.entries:
        for entry in page.entries if direction == "newer" else reversed(page.entries):
            found[entry.agent_id].append(entry.message)
        if (cursor := page.newer if direction == "newer" else page.older) is None:
            break
        page = book.page(**criteria, cursor=cursor)
    wanted = numbers(1, 100) if direction == "newer" else numbers(1, 100)[::-1]
    assert found == {"a": wanted, "b": wanted, "c": wanted}


def test_where_somebody_has_removed_rotated_files_lines_come_rather_twice_than_not_at_all(book: Logbook) -> None:
    write_numbers(book, "a", 1, 3)
    book.rotate("a")
    write_numbers(book, "a", 4, 4)
    page = book.page("a")
    numbered(book.logs.path("a"), 1).unlink()
    assert rotated_files(book.logs.path("a")) == []
    assert book.said("a", cursor=page.older) == ["4"]


def test_what_cannot_be_answered_is_refused(book: Logbook) -> None:
    with pytest.raises(BadRequest, match="regex"):
        book.page("a", regex="(")
    with pytest.raises(BadRequest, match="cursor"):
        book.page("a", cursor="nonsense")
