from __future__ import annotations

import pytest

from agent_service.http.client.answer import RawHeaders
from manager.forwarding.headers import HOP_BY_HOP
from manager.forwarding.trailers import (
    FORBIDDEN,
    announced_trailers,
    asks_for_trailers,
    trailers_towards_client,
)

CHECKSUM = (b"content-digest", b"sha-256=:x:")


@pytest.mark.parametrize(
    ("values", "asks"),
    [
        ([b"trailers"], True),
        ([b"gzip;q=0.5, Trailers"], True),
        ([b"gzip", b"trailers"], True),
        ([b"gzip"], False),
        ([b"trailers;q=0"], False),
        ([b"trailersx"], False),
        ([b""], False),
        ([], False),
    ],
)
def test_a_client_asks_by_name(values: list[bytes], asks: bool) -> None:
    assert asks_for_trailers([(b"accept", b"trailers"), *((b"te", value) for value in values)]) is asks


def test_fields_that_say_something_of_the_body_pass_in_order() -> None:
    fields = [CHECKSUM, (b"etag", b'"a"'), (b"grpc-status", b"0"), (b"server-timing", b"a;dur=1"), CHECKSUM]
    assert trailers_towards_client(fields, []) == fields


@pytest.mark.parametrize("name", sorted(FORBIDDEN | HOP_BY_HOP | {b"date", b"server", b"x-request-id", b"traceparent"}))
def test_fields_that_cannot_come_so_late_are_taken_out(name: bytes) -> None:
    assert trailers_towards_client([(name, b"1"), CHECKSUM], []) == [CHECKSUM]
    assert announced_trailers([(b"trailer", b"%b, Content-Digest" % name)]) == [(b"trailer", b"content-digest")]


@pytest.mark.parametrize("name", [b"x-manager-token", b"x-manager-call"])
def test_what_is_between_manager_and_adapter_is_taken_out(name: bytes) -> None:
    assert trailers_towards_client([(name, b"1"), CHECKSUM], []) == [CHECKSUM]


def test_what_connection_names_is_of_that_connection_in_trailers_too() -> None:
    head: RawHeaders = [(b"connection", b"X-Hop")]
    assert trailers_towards_client([(b"x-hop", b"1"), CHECKSUM], head) == [CHECKSUM]
    assert announced_trailers([*head, (b"trailer", b"X-Hop")]) == []


@pytest.mark.parametrize("values", [[], [b""], [b" , "], [b"Content-Length"]])
def test_nothing_is_announced_where_nothing_passes(values: list[bytes]) -> None:
    assert announced_trailers([(b"trailer", value) for value in values]) == []


def test_several_announcements_become_one() -> None:
    headers = [(b"trailer", b"A,B"), (b"x", b"1"), (b"trailer", b"C")]
    assert announced_trailers(headers) == [(b"trailer", b"a, b, c")]
