"""References resolved into values, and the values kept out of whatever is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agent_service.log_redaction import REDACTED

Resolve = Callable[[str], str]
"""A reference (`env:NAME`, `file:PATH`) to its value, any other text to itself. Raises `EntryPointError`."""

# A shorter value is no secret, and its letters are everywhere.
_SHORTEST = 4


class Secrets:
    """Resolves, and remembers what was resolved, to take it out of messages."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._values: set[str] = set()

    def resolved(self, references: Mapping[str, str]) -> dict[str, str]:
        """The values in place of the references. Raises `EntryPointError`."""
        values = {name: self._resolve(text) for name, text in references.items()}
        self._values |= {
            value for name, value in values.items() if len(value) >= _SHORTEST and value != references[name]
        }
        return values

    def redact(self, text: str) -> str:
        """The text without any value that came from a reference."""
        for value in self._values:
            text = text.replace(value, REDACTED)
        return text
