"""Prompts, answers and messages of errors, made fit to be recorded."""

from __future__ import annotations

import json
from collections.abc import Callable

Redact = Callable[[str], str]
"""Takes secrets out of a text."""

# Characters of one attribute.
MAX_CONTENT = 32 * 1024


def as_content(value: object, redact: Redact) -> str:
    """Any value as text: without secrets, and not too long."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    clean = redact(text)
    return clean if len(clean) <= MAX_CONTENT else f"{clean[:MAX_CONTENT]}…"
