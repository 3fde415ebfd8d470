"""What stands in a page's address, read as a form leaves it there: with empty fields."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import QueryParams

from manager.errors import BadRequest

_MOST_DIGITS = 18


def given(params: QueryParams, names: Iterable[str]) -> QueryParams:
    """Those of `names` that say something."""
    wanted = set(names)
    return QueryParams([(key, value.strip()) for key, value in params.multi_items() if key in wanted and value.strip()])


def id_of(params: QueryParams, name: str) -> int | None:
    """The id of an event; None where there is none. Raises `BadRequest`."""
    text = params.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise BadRequest(f"{name} is {text[:40]!r}; it must be the id of an event.")
    return int(text)
