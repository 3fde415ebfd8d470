"""How a span ends that did not end well."""

from __future__ import annotations

from opentelemetry.trace import Span, Status, StatusCode

from agent_service.errors import Refusal
from agent_service.tracing.content import Redact, as_content


def fail(span: Span, error: BaseException, content: Redact | None) -> None:
    """Mark the span by the error's type. Its message, which may quote anything, counts as content.

    What was the caller's own mistake is no error of ours.
    """
    span.set_attribute("error.type", name_of(error))
    if not (isinstance(error, Refusal) and error.status < 500):
        span.set_status(Status(StatusCode.ERROR, as_content(str(error), content) if content is not None else None))


def name_of(error: BaseException) -> str:
    """The error's type with its module, built-in ones without."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
