from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from agent_service.runtimes.tools.lines import Line, bounded_lines


def lines(data: bytes, limit: int) -> list[Line]:
    async def scenario() -> list[Line]:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        return [line async for line in bounded_lines(reader, limit)]

    return asyncio.run(scenario())


def test_a_line_over_the_limit_keeps_its_beginning_and_its_end() -> None:
    long = b"begin" + b"x" * 200_000 + b"end"
    first, second = lines(long + b"\nshort", 10)
    assert (first.text, first.length, first.end[-3:], first.is_whole) == (b"beginxxxxx", len(long), b"end", False)
    assert (second.text, second.is_whole) == (b"short", True)


@given(st.binary(max_size=300), st.integers(1, 50))
def test_every_line_comes_once_and_in_order(data: bytes, limit: int) -> None:
    expected = data.split(b"\n")
    if not expected[-1]:
        expected.pop()
    found = lines(data, limit)
    assert [line.text for line in found] == [line[:limit] for line in expected]
    assert [line.length for line in found] == [len(line) for line in expected]
