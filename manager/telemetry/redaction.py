"""What must not reach a log: values of secrets wherever they stand, and whatever a secret-looking key holds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

REDACTED = "[redacted]"

# Keys that end in `token`, but not `max_tokens` or `token_count`: language models count those.
_SECRET_KEY = re.compile(
    r"token(?:_previous)?$|secret|passw(?:or)?d|passphrase|api[_-]?key|private[_-]?key"
    r"|authorization|cookie|credential",
    re.IGNORECASE,
)


class Redaction:
    """`secrets` are values, not names; empty ones are ignored."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # The longest first, so that a secret that begins with another one is replaced whole.
        self._secrets = sorted({secret for secret in secrets if secret}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """`text` without the secrets."""
        for secret in self._secrets:
            text = text.replace(secret, REDACTED)
        return text

    def value(self, value: Any) -> Any:
        """A copy of a JSON-like value without the secrets; what is not JSON-like becomes its redacted repr."""
        if isinstance(value, dict):
            return {self.text(str(key)): self._of_key(str(key), item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item) for item in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        return self.text(value if isinstance(value, str) else repr(value))

    def _of_key(self, key: str, value: Any) -> Any:
        return REDACTED if value and _SECRET_KEY.search(key) else self.value(value)
