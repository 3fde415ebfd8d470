from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from manager.actor import actor_of
from manager.errors import BadRequest


def headers(actor: bytes | None) -> Headers:
    return Headers(raw=[] if actor is None else [(b"x-actor", actor)])


def test_one_who_does_not_say_is_the_api() -> None:
    assert actor_of(headers(None)) == "api"
    assert actor_of(headers(None), "dashboard") == "dashboard"


@pytest.mark.parametrize("name", ["cli", "deploy bot 7", "ada@example.org", "x" * 64])
def test_a_name_is_taken_as_it_is(name: str) -> None:
    assert actor_of(headers(name.encode())) == name


@pytest.mark.parametrize("name", [b"", b" ", b"-x", b"x" * 65, b"a\x1b[31m", b"<b>", "Zoë".encode("latin-1")])
def test_what_is_no_name_is_refused_with_a_way_out(name: bytes) -> None:
    with pytest.raises(BadRequest, match="leave it out"):
        actor_of(headers(name))
