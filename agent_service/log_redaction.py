"""What must not reach a log: known secrets wherever they stand, what a secret-looking key holds, and whatever has the
shape of a key. Imports the standard library only.
"""

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
# How providers write their keys: OpenAI and Anthropic, GitHub, GitLab, Slack, AWS, Google, Hugging Face, any JWT.
_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:sk-[\w-]{16,}|gh[opsur]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|xox[abeoprs]-[\w-]{10,}"
    r"|A(?:KIA|SIA)[0-9A-Z]{16}\b|AIza[\w-]{30,}|hf_[A-Za-z0-9]{20,}"
    r"|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
# What stands behind a name or a scheme: that stays, the value goes.
_NAMED = re.compile(
    r"((?:bearer|basic) +|(?:token|secret|passw(?:or)?d|passphrase|api[_-]?key|private[_-]?key)[\"']? *[=:] *[\"']?)"
    r"[\w.~+/=-]{8,}",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(r"(://[^\s/:@]*:)[^\s/@]+(?=@)")
# A text without any of these has nothing for the expression above, which takes ten times as long to say so.
_NAMES = ("bearer", "basic", "token", "secret", "passw", "passphrase", "key")


class Redaction:
    """`secrets` are values, not names; empty ones are ignored."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # The longest first, so that a secret that begins with another one is replaced whole.
        self._secrets = sorted({secret for secret in secrets if secret}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """`text` without the secrets."""
        for secret in self._secrets:
            text = text.replace(secret, REDACTED)
        text = _KEY.sub(REDACTED, text)
        lowered = text.lower()
        if any(name in lowered for name in _NAMES):
            text = _NAMED.sub(rf"\1{REDACTED}", text)
        return _URL_PASSWORD.sub(rf"\1{REDACTED}", text) if "://" in text else text

    def value(self, value: Any) -> Any:
        """A copy of a JSON-like value without the secrets; what is not JSON-like becomes redacted text."""
        if isinstance(value, dict):
            return {self.text(str(key)): self._of_key(str(key), item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item) for item in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        return self.text(_text_of(value))

    def _of_key(self, key: str, value: Any) -> Any:
        return REDACTED if value and _SECRET_KEY.search(key) else self.value(value)


def _text_of(value: object) -> str:
    # An exception's type says more than its message.
    return repr(value) if isinstance(value, BaseException | bytes) else str(value)
