"""Who asks, as they call themselves: for the history and for nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping

from manager.errors import BadRequest
from manager.events import ACTOR_HEADER

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 @._:-]{0,63}")


def actor_of(headers: Mapping[str, str], default: str = "api") -> str:
    """The name in the X-Actor header, `default` without one. Raises `BadRequest`.

    `headers` as Starlette gives them: their names in any case.
    """
    name = headers.get(ACTOR_HEADER, default)
    if not _NAME.fullmatch(name):
        raise BadRequest(
            f"The {ACTOR_HEADER} header is {name[:80]!r}; give 1 to 64 letters, digits, spaces or @._:- that begin "
            "with a letter or digit, or leave it out."
        )
    return name
