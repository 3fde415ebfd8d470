"""What of a config may be shown: references, never the secrets they stand for or that were written in their place.

Imports the standard library only.
"""

from __future__ import annotations

import json
import re

HIDDEN = "***"
REFERENCE_SCHEMES = ("env:", "file:")
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL", re.IGNORECASE)
# A number of tokens opens no door.
_PLAIN_NAMES = frozenset({"max_tokens"})
_URL_USER = re.compile(r"(?<=//)[^/@\s]+(?=@)")


def is_reference(value: str) -> bool:
    """Whether `value` names where a secret is kept rather than being one."""
    return value.startswith(REFERENCE_SCHEMES)


def looks_secret(name: str) -> bool:
    """Whether a thing of this name is one that nobody should read over a shoulder."""
    return name.lower() not in _PLAIN_NAMES and _SECRET_NAME.search(name) is not None


def shown(name: str, value: str) -> str:
    """`value` as it may be shown under `name`: a reference whole, a secret hidden, a URL without its user."""
    if is_reference(value):
        return value
    return HIDDEN if looks_secret(name) else _URL_USER.sub(HIDDEN, value)


def brief(name: str, value: object) -> str:
    """Any JSON value in a few words for an error about the key `name`: containers by kind, long text cut."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, (list, tuple)):
        return f"an array of {len(value)}"
    if not isinstance(value, str) and looks_secret(name):
        return HIDDEN
    text = json.dumps(shown(name, value) if isinstance(value, str) else value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:79] + "…"
