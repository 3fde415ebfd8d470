from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from agent_service.log_files import numbered
from manager.errors import BadRequest
from manager.telemetry.log_reading import reader as reader_module
from manager.telemetry.log_reading.cursor import Cursor
from manager.telemetry.log_reading.following import Following
from manager.telemetry.log_reading.matching import Matcher
from manager.telemetry.log_reading.query import LogQuery
from manager.telemetry.log_reading.reader import LogReader
from tests.unit.manager.telemetry.log_reading.logbook import Logbook, followed, line, messages


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Logbook:
    monkeypatch.setattr(reader_module, "FOLLOW_SECONDS", 0.001)
    return Logbook(tmp_path)


def following(book: Logbook, run: Callable[[Any], Coroutine[Any, Any, None]], *agents: str, **criteria: Any) -> None:
    async def whole() -> None:
        async with asyncio.timeout(30), aclosing(book.reader.follow(LogQuery(agents=agents, **criteria))) as pages:
            await run(pages)

    asyncio.run(whole())


def test_the_newest_lines_come_first_and_then_what_is_written(book: Logbook) -> None:
    book.write("a", "1", "2")

    async def run(pages: Any) -> None:
        assert messages((await anext(pages)).entries) == ["2"]
        book.write("a", "3")
        assert messages(await followed(pages, 1)) == ["3"]
        book.write("b", "of another agent")
        book.write("a", "hal", end="")
        book.write("a", "f")
        assert messages(await followed(pages, 1)) == ["half"]

    following(book, run, "a", lines=1)


def test_following_goes_on_over_rotations_and_misses_no_late_line(book: Logbook) -> None:
    book.write("a", "1")

    async def run(pages: Any) -> None:
        await anext(pages)
        book.write("a", "2")
        rotated = book.rotate("a")
        book.write("a", "3")
        assert messages(await followed(pages, 2)) == ["2", "3"]
        with rotated.open("a") as late:
            late.write("4\n")
        assert messages(await followed(pages, 1)) == ["4"]
        for number in range(5, 15):
            book.write("a", str(number))
            book.rotate("a")
        assert messages(await followed(pages, 10)) == [str(number) for number in range(5, 15)]

    following(book, run, "a")


def test_a_backlog_over_several_answers_is_read_to_its_end(book: Logbook) -> None:
    query = LogQuery(agents=("a", "b"))
    book.write("a", line(0, "begun"))
    book.write("b", line(0, "begun"))
    following = Following(book.logs, query, Matcher(query), Cursor.decode(book.page("a", "b").newer))
    book.rotate("b")
    book.write("a", *(line(1, str(number)) for number in range(1500)))
    book.write("b", line(2, "last of b"))
    book.rotate("b")
    first, second = following.step(), following.step()
    assert first is not None and second is not None and len(first.entries) == 1000
    assert messages(second.entries) == [*(str(number) for number in range(1000, 1500)), "last of b"]
    assert following.step() is None


def test_a_short_line_after_a_rotation_is_noticed(book: Logbook) -> None:
    book.write("a", "a long line before the rotation")
    query = LogQuery(agents=("a",))
    following = Following(book.logs, query, Matcher(query), Cursor.decode(book.page("a").newer))
    book.rotate("a")
    assert following.step() is None
    book.write("a", "short")
    page = following.step()
    assert page is not None and messages(page.entries) == ["short"]


def test_following_can_be_resumed_exactly_where_it_ended(book: Logbook) -> None:
    book.write("a", "1")
    cursors: list[str] = []

    async def first(pages: Any) -> None:
        cursors.append((await anext(pages)).newer)

    async def second(pages: Any) -> None:
        assert messages(await followed(pages, 2)) == ["2", "3"]

    following(book, first, "a")
    book.write("a", "2")
    book.rotate("a")
    book.write("a", "3")
    following(book, second, "a", cursor=cursors[0])


def test_all_agents_are_followed_and_those_that_come_later_too(book: Logbook) -> None:
    book.write("a", line(1, "a1"))

    async def run(pages: Any) -> None:
        assert messages((await anext(pages)).entries) == ["a1"]
        book.write("b", line(2, "b2"))
        assert messages(await followed(pages, 1)) == ["b2"]

    following(book, run)


def test_only_what_matches_is_told(book: Logbook) -> None:
    async def run(pages: Any) -> None:
        assert (await anext(pages)).entries == []
        book.write("a", line(1, "no"), line(2, "yes", request_id="r"), line(3, "no"))
        assert messages(await followed(pages, 1)) == ["yes"]

    following(book, run, "a", request="r")


def test_lines_that_were_deleted_before_they_were_read_are_told_of(book: Logbook) -> None:
    book.write("a", "1")

    async def run(pages: Any) -> None:
        await anext(pages)
        for number in range(2, 6):
            book.write("a", str(number))
            book.rotate("a")
        book.write("a", "6")
        for number in (1, 2, 3):
            numbered(book.logs.path("a"), number).unlink()
        page = await anext(pages)
        assert messages(page.entries) == ["5", "6"]
        assert "some of its oldest lines were deleted" in page.note

    following(book, run, "a")


def test_a_log_that_was_removed_begins_anew(book: Logbook) -> None:
    for number in range(3):
        book.write("a", str(number))
        book.rotate("a")
    book.write("a", "old")

    async def run(pages: Any) -> None:
        await anext(pages)
        for number in (1, 2, 3):
            numbered(book.logs.path("a"), number).unlink()
        book.logs.path("a").unlink()
        book.write("a", "new")
        assert messages(await followed(pages, 1)) == ["new"]

    following(book, run, "a")


def test_silence_is_told_too(book: Logbook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "SILENCE_SECONDS", 0.0)

    async def run(pages: Any) -> None:
        await anext(pages)
        assert await anext(pages) is None

    following(book, run, "a")


def test_followers_are_left_when_it_is_over(book: Logbook) -> None:
    over: list[bool] = []
    reader = LogReader(book.logs, is_over=lambda: bool(over))

    async def run() -> None:
        pages = reader.follow(LogQuery(agents=("a",)))
        await anext(pages)
        over.append(True)
        assert [page async for page in pages] == []

    asyncio.run(run())


def test_following_from_an_older_page_s_end_is_refused(book: Logbook) -> None:
    book.write("a", *map(str, range(300)))
    older = book.page("a").older

    async def run(pages: Any) -> None:
        with pytest.raises(BadRequest, match="newer"):
            await anext(pages)

    following(book, run, "a", cursor=older)
