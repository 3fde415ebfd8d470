"""How code deep inside a task learns which span it works for, without knowing whether anybody records spans.

Imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

Carrier = Callable[[], dict[str, str]]

_carrier: ContextVar[Carrier | None] = ContextVar("trace_carrier", default=None)


def carry(carrier: Carrier) -> None:
    """In this context, and in those copied from it, `trace_headers` is what `carrier` says when it is asked."""
    _carrier.set(carrier)


def trace_headers() -> dict[str, str]:
    """`traceparent`, and `tracestate` where there is one, for whatever is asked now; nothing where traces are off."""
    carrier = _carrier.get()
    return {} if carrier is None else carrier()
