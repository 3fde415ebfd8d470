"""Which headers cross the manager, by RFC 9110 section 7.6.1. Names are in lower case everywhere."""

from __future__ import annotations

from agent_service.contract import CALL_HEADER, REQUEST_ID_HEADER, TOKEN_HEADER
from agent_service.http.client.answer import RawHeaders

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# Towards the adapter: the manager sets these itself, and a browser's cookies and origin are none of its business.
_REPLACED = frozenset(
    {
        b"host",
        b"content-length",
        b"expect",
        b"cookie",
        b"origin",
        b"referer",
        b"traceparent",
        TOKEN_HEADER.lower().encode(),
        CALL_HEADER.lower().encode(),
        REQUEST_ID_HEADER.lower().encode(),
    }
)
# Answers that end with their head, whatever it says (RFC 9110 section 6.4.1).
BODILESS = frozenset({204, 304})
# Towards the client: the manager's own server and middleware set these.
_SET_BY_MANAGER = frozenset({b"date", b"server", b"traceparent", REQUEST_ID_HEADER.lower().encode()})


_NOT_TOWARDS_ADAPTER = HOP_BY_HOP | _REPLACED
_NOT_TOWARDS_CLIENT = HOP_BY_HOP | _SET_BY_MANAGER


def towards_adapter(headers: RawHeaders) -> RawHeaders:
    """The client's headers without those of its own connection."""
    return _without(headers, _NOT_TOWARDS_ADAPTER)


def towards_client(headers: RawHeaders, status: int = 200) -> RawHeaders:
    """The adapter's headers without those of its own connection."""
    kept = _without(headers, _NOT_TOWARDS_CLIENT)
    if status in BODILESS:
        # What it would be the length of does not come, and the server below counts.
        return [header for header in kept if header[0] != b"content-length"]
    return kept


def declared_length(headers: RawHeaders) -> int | None:
    """The body's length by Content-Length, which the server has checked; None where there is none."""
    value = dict(headers).get(b"content-length")
    return None if value is None else int(value)


def _without(headers: RawHeaders, dropped: frozenset[bytes]) -> RawHeaders:
    if b"connection" in dict(headers):
        connection = [value for name, value in headers if name == b"connection"]
        named = {token.strip().lower() for value in connection for token in value.split(b",")}
        dropped |= named
    return [header for header in headers if header[0] not in dropped]
