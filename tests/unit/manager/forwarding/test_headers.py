from __future__ import annotations

import pytest

from agent_service.http.client.answer import RawHeaders
from manager.forwarding.headers import HOP_BY_HOP, towards_adapter, towards_client

KEPT_BOTH_WAYS = [
    (b"content-type", b"application/json"),
    (b"accept", b"text/event-stream"),
    (b"authorization", b"Bearer theirs"),
    (b"tracestate", b"vendor=1"),
    (b"x-custom", b"\xc3\xa9"),
]


@pytest.mark.parametrize("direction", [towards_adapter, towards_client])
def test_ordinary_headers_cross_unchanged_and_in_order(direction: object) -> None:
    assert direction(KEPT_BOTH_WAYS) == KEPT_BOTH_WAYS  # type: ignore[operator]


@pytest.mark.parametrize("direction", [towards_adapter, towards_client])
@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_hop_by_hop_headers_stay_on_their_connection(direction: object, name: bytes) -> None:
    assert direction([(name, b"x"), (b"x-kept", b"1")]) == [(b"x-kept", b"1")]  # type: ignore[operator]


@pytest.mark.parametrize("direction", [towards_adapter, towards_client])
def test_what_connection_names_is_of_that_connection_too(direction: object) -> None:
    headers: RawHeaders = [
        (b"connection", b"close, X-Session ,"),
        (b"x-session", b"1"),
        (b"connection", b"X-OTHER"),
        (b"x-other", b"2"),
        (b"x-kept", b"3"),
    ]
    assert direction(headers) == [(b"x-kept", b"3")]  # type: ignore[operator]


@pytest.mark.parametrize(
    "name",
    [
        b"Host",
        b"Content-Length",
        b"Expect",
        b"Cookie",
        b"Origin",
        b"Referer",
        b"Traceparent",
        b"X-Manager-Token",
        b"X-Request-ID",
    ],
)
def test_what_is_the_manager_s_to_say_or_the_browser_s_to_keep_does_not_reach_the_adapter(name: bytes) -> None:
    assert towards_adapter([(name.lower(), b"x"), (b"accept", b"*/*")]) == [(b"accept", b"*/*")]


@pytest.mark.parametrize("name", [b"date", b"server", b"x-request-id", b"traceparent"])
def test_what_the_manager_s_own_server_sets_does_not_come_twice(name: bytes) -> None:
    assert towards_client([(name, b"x"), (b"retry-after", b"1")]) == [(b"retry-after", b"1")]


def test_an_answer_keeps_its_length_its_coding_and_each_of_its_cookies() -> None:
    headers = [
        (b"content-length", b"12"),
        (b"content-encoding", b"gzip"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
    ]
    assert towards_client(headers) == headers


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_ends_with_its_head_loses_the_length_that_does_not_come(status: int) -> None:
    assert towards_client([(b"content-length", b"3"), (b"etag", b"x")], status) == [(b"etag", b"x")]
