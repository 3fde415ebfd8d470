"""How a sidecar, a process that does not speak the adapter API, is asked whether it is well."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urljoin, urlsplit

from pydantic import AfterValidator, Field, WithJsonSchema

from manager.settings import StrictCamelModel


def _probed_address(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = value.startswith("/") or (parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:
        usable = False
    if not usable or any(letter.isspace() for letter in value) or "@" in parts.netloc:
        raise ValueError("write a path such as /health, or an http:// or https:// address without user and password")
    return value


ProbedAddress = Annotated[
    str, AfterValidator(_probed_address), WithJsonSchema({"type": "string", "pattern": r"^(/|https?://)\S*$"})
]


def _seconds(lowest: float, description: str, *, default: float) -> Any:
    return Field(default=default, ge=lowest, le=3600, allow_inf_nan=False, description=description)


class ProbeSettings(StrictCamelModel):
    """An HTTP GET that a well sidecar answers with a status below 400. Times in seconds."""

    http: ProbedAddress = Field(description="What is asked: a path at the sidecar's own port, or a whole address.")
    interval_seconds: float = _seconds(0.05, "From one answer to the next question.", default=5)
    timeout_seconds: float = _seconds(0.05, "An answer that takes longer is none.", default=2)
    failures: int = Field(
        default=3,
        ge=1,
        le=1000,
        description="After so many failures in a row the sidecar is unresponsive; after as many again it is restarted.",
    )

    def url(self, sidecar_url: str) -> str:
        """The whole address for the sidecar at `sidecar_url` (`http://HOST:PORT`)."""
        return urljoin(sidecar_url, self.http)
