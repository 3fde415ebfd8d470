"""Who asks, as they call themselves: for the history and for nothing else."""

from __future__ import annotations

import re

from starlette.requests import Request

from manager.errors import BadRequest
from manager.events import ACTOR_HEADER

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 @._:-]{0,63}")
_DEFAULT = "api"


def actor_of(request: Request) -> str:
    """The name in the X-Actor header, `api` without one. Raises `BadRequest`."""
    name = request.headers.get(ACTOR_HEADER, _DEFAULT)
    if not _NAME.fullmatch(name):
        raise BadRequest(
            f"The {ACTOR_HEADER} header is {name[:80]!r}; give 1 to 64 letters, digits, spaces or @._:- that begin "
            "with a letter or digit, or leave it out."
        )
    return name
