from __future__ import annotations

from manager.cli.sse import ServerSentEvent, parse_events


def parse(*blocks: bytes) -> list[ServerSentEvent]:
    return list(parse_events(blocks))


def test_fields_make_an_event() -> None:
    assert parse(b"id: 7\nevent: chunk\ndata: {}\n\n") == [ServerSentEvent("chunk", "{}", "7")]


def test_an_event_without_name_is_a_message() -> None:
    assert parse(b"data:x\n\n") == [ServerSentEvent("message", "x")]


def test_data_lines_are_joined_and_lose_one_space() -> None:
    assert parse(b"data:  a\ndata: b\ndata\n\n") == [ServerSentEvent("message", " a\nb\n")]


def test_blocks_may_be_cut_anywhere_even_inside_a_character() -> None:
    text = "data: é\r\n\r\ndata: b\r\n\r\n".encode()
    expected = [ServerSentEvent("message", "é"), ServerSentEvent("message", "b")]
    assert all(parse(text[:cut], text[cut:]) == expected for cut in range(len(text)))


def test_comments_unknown_fields_and_events_without_data_are_dropped() -> None:
    assert parse(b": keep-alive\n\nevent: nothing\n\nretry: 5\ndata: x\n\n") == [ServerSentEvent("message", "x")]


def test_an_event_that_the_end_cuts_off_is_dropped() -> None:
    assert parse(b"data: whole\n\ndata: half") == [ServerSentEvent("message", "whole")]


def test_line_separators_of_unicode_end_no_line() -> None:
    assert parse('data: "a\u2028b"\n\n'.encode()) == [ServerSentEvent("message", '"a\u2028b"')]
