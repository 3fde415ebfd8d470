"""Which headers cross the manager, by RFC 9110 section 7.6.1."""

from __future__ import annotations

from collections.abc import Iterable

from agent_service.contract import REQUEST_ID_HEADER, TOKEN_HEADER

RawHeaders = list[tuple[bytes, bytes]]

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
        REQUEST_ID_HEADER.lower().encode(),
    }
)
# Towards the client: the manager's own server and middleware set these.
_SET_BY_MANAGER = frozenset({b"date", b"server", b"traceparent", REQUEST_ID_HEADER.lower().encode()})


def towards_adapter(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """The client's headers without those of its own connection."""
    return _without(headers, _REPLACED)


def towards_client(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """The adapter's headers without those of its own connection."""
    return _without(headers, _SET_BY_MANAGER)


def _without(headers: Iterable[tuple[bytes, bytes]], dropped: frozenset[bytes]) -> RawHeaders:
    lowered = [(name.lower(), value) for name, value in headers]
    named = {token.strip().lower() for name, value in lowered if name == b"connection" for token in value.split(b",")}
    return [
        (name, value) for name, value in lowered if name not in HOP_BY_HOP and name not in dropped and name not in named
    ]
