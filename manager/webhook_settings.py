"""Whom the manager tells of what happens: one object of `runtime.webhooks`."""

from __future__ import annotations

import base64
import binascii
import difflib
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema

from agent_service.contract import AgentId, CamelModel
from agent_service.redaction import is_reference
from manager.events import TOPICS, EventKind

SECRET_PREFIX = "whsec_"
_KEY_BYTES = range(24, 65)
_FEWEST_CHARACTERS = 24
# A webhook that fails would tell of itself, for ever.
CHOICES = TOPICS - {EventKind.WEBHOOK_FAILED.value}

_REFERENCE = r"^(env|file):.+$"


def checked_url(value: str) -> str:
    """`value`, an address to which notifications can be posted. Raises ValueError."""
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or "@" in parts.netloc or parts.fragment or not value.isascii() or not value.isprintable():
        raise ValueError("write http://… or https://… without user, password and fragment, or a reference to it")
    if " " in value:
        raise ValueError("take out the white space")
    return value


def signing_key(secret: str) -> bytes:
    """The key that a resolved secret stands for: `whsec_` and base64, or any long text. Raises ValueError.

    The form is that of the Standard Webhooks specification.
    """
    if not secret.startswith(SECRET_PREFIX):
        if len(secret) < _FEWEST_CHARACTERS:
            raise ValueError(
                f"make it longer: {SECRET_PREFIX} and 32 random bytes in base64, or at least 24 characters"
            )
        return secret.encode()
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) not in _KEY_BYTES:
        raise ValueError(f"write {SECRET_PREFIX} and 24 to 64 bytes in base64 behind it")
    return key


def _url_or_reference(value: str) -> str:
    return value if is_reference(value) else checked_url(value)


def _reference(value: str) -> str:
    if not is_reference(value):
        raise ValueError("keep it elsewhere and refer to it: env:NAME or file:PATH")
    return value


def _kind(value: str) -> str:
    if value not in CHOICES:
        close = difflib.get_close_matches(value, CHOICES, n=1)
        raise ValueError(f"did you mean {close[0]!r}?" if close else "name a state of an agent or a kind of event")
    return value


Kind = Annotated[str, AfterValidator(_kind), WithJsonSchema({"type": "string", "enum": sorted(CHOICES)})]


class WebhookSettings(CamelModel):
    """One receiver of notifications. Times in seconds."""

    model_config = ConfigDict(strict=True, validate_default=True)

    name: AgentId = Field(description="What it is called: 1 to 63 of a-z, 0-9, '-' and '_'; unique.")
    url: Annotated[
        str,
        AfterValidator(_url_or_reference),
        WithJsonSchema({"type": "string", "pattern": r"^(https?://\S+|(env|file):.+)$"}),
    ] = Field(description="Where notifications are posted; a reference where the address itself is a secret.")
    secret: Annotated[str, AfterValidator(_reference), WithJsonSchema({"type": "string", "pattern": _REFERENCE})] = (
        Field(description="A reference to what notifications are signed with: whsec_ and base64, or a long text.")
    )
    kinds: tuple[Kind, ...] = Field(
        default=("failed", "unresponsive", "lost"),
        min_length=1,
        strict=False,
        description="States of agents and kinds of events that are told.",
    )
    agents: tuple[AgentId, ...] | None = Field(
        default=None, min_length=1, strict=False, description="Of which agents; of all, and of the manager, if absent."
    )
    timeout_seconds: float = Field(
        default=10, ge=0.1, le=120, allow_inf_nan=False, description="An answer that takes longer is none."
    )
    give_up_after_seconds: float = Field(
        default=86_400,
        ge=0,
        le=604_800,
        allow_inf_nan=False,
        description="A notification that failed is tried again for so long.",
    )


def distinct_names(webhooks: tuple[WebhookSettings, ...]) -> tuple[WebhookSettings, ...]:
    """Raises ValueError where two have the same name."""
    names = [webhook.name for webhook in webhooks]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"give each webhook its own name: {', '.join(sorted(twice))} is there twice")
    return webhooks


Webhooks = Annotated[tuple[WebhookSettings, ...], AfterValidator(distinct_names)]
