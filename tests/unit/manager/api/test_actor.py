from __future__ import annotations

import pytest
from starlette.requests import Request

from manager.api.actor import actor_of
from manager.errors import BadRequest


def request(actor: bytes | None) -> Request:
    headers = [] if actor is None else [(b"x-actor", actor)]
    return Request({"type": "http", "method": "POST", "headers": headers})


def test_one_who_does_not_say_is_the_api() -> None:
    assert actor_of(request(None)) == "api"


@pytest.mark.parametrize("name", ["cli", "deploy bot 7", "ada@example.org", "x" * 64])
def test_a_name_is_taken_as_it_is(name: str) -> None:
    assert actor_of(request(name.encode())) == name


@pytest.mark.parametrize("name", [b"", b" ", b"-x", b"x" * 65, b"a\x1b[31m", b"<b>", "Zoë".encode("latin-1")])
def test_what_is_no_name_is_refused_with_a_way_out(name: bytes) -> None:
    with pytest.raises(BadRequest, match="leave it out"):
        actor_of(request(name))
