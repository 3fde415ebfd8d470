"""The history's filter as a query string: `agent`, `kind`, `actor`, `text`, `since`, `until`."""

from __future__ import annotations

import difflib
from datetime import datetime

from starlette.datastructures import QueryParams

from manager.api.operation import QueryParameter
from manager.errors import BadRequest
from manager.event_filter import EventFilter
from manager.events import TOPICS
from manager.moments import WRITTEN, read_moment

PARAMETERS = (
    QueryParameter("agent", "Only events of this agent.", {"type": "string"}),
    QueryParameter(
        "kind",
        "Only events of this kind, or changes into this state; several by commas or by repeating the parameter.",
        {"type": "array", "items": {"type": "string", "enum": sorted(TOPICS)}},
    ),
    QueryParameter("actor", "Only what this one has asked for.", {"type": "string"}),
    QueryParameter(
        "text", "Only events with this in their message or reason; case does not matter.", {"type": "string"}
    ),
    QueryParameter("since", f"Only events from then on: {WRITTEN}.", {"type": "string"}),
    QueryParameter("until", f"Only events before then: {WRITTEN}.", {"type": "string"}),
)


def read_filter(query: QueryParams, now: datetime) -> EventFilter:
    """What the query asks for; an empty parameter counts as left out. Raises `BadRequest`."""
    return EventFilter(
        agent_id=query.get("agent") or None,
        kinds=_kinds(query.getlist("kind")),
        actor=query.get("actor") or None,
        text=query.get("text") or None,
        since=read_moment("since", query.get("since"), now),
        until=read_moment("until", query.get("until"), now),
    )


def _kinds(values: list[str]) -> frozenset[str]:
    named = [kind.strip() for value in values for kind in value.split(",") if kind.strip()]
    for kind in named:
        if kind not in TOPICS:
            close = difflib.get_close_matches(kind, TOPICS, n=1)
            raise BadRequest(
                f"kind {kind[:40]!r} is neither a kind of event nor a state; "
                + (f"did you mean {close[0]}?" if close else "GET /api/openapi.json lists them all.")
            )
    return frozenset(named)
