"""Which fields cross the manager after an answer's body, by RFC 9110 section 6.5. Names are in lower case everywhere.

Only those of answers do, and only to clients that ask for them. Those of requests are left out, as that section lets
intermediaries do: no guard looks at them, and ASGI, by which agents are served, does not know them.
"""

from __future__ import annotations

from agent_service.contract import CALL_HEADER, TOKEN_HEADER
from agent_service.http.client.answer import RawHeaders
from manager.forwarding.headers import towards_client

# What has to be known before the body is, or cannot be taken back after it: framing, routing, conditions, credentials,
# control of caches, what the body is (RFC 9110 section 6.5.1).
FORBIDDEN = frozenset(
    {
        b"accept-ranges",
        b"age",
        b"authorization",
        b"cache-control",
        b"content-disposition",
        b"content-encoding",
        b"content-language",
        b"content-length",
        b"content-location",
        b"content-range",
        b"content-type",
        b"cookie",
        b"expect",
        b"expires",
        b"forwarded",
        b"host",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"location",
        b"max-forwards",
        b"pragma",
        b"range",
        b"retry-after",
        b"set-cookie",
        b"vary",
        b"via",
        b"warning",
        b"www-authenticate",
        TOKEN_HEADER.lower().encode(),
        CALL_HEADER.lower().encode(),
    }
)


def asks_for_trailers(headers: RawHeaders) -> bool:
    """Whether a request says `TE: trailers`."""
    codings = [coding for name, value in headers if name == b"te" for coding in value.split(b",")]
    return any(coding.strip().lower() == b"trailers" for coding in codings)


def trailers_towards_client(trailers: RawHeaders, headers: RawHeaders) -> RawHeaders:
    """Those of the adapter's trailers that may pass; `headers`: the adapter's own, of the same answer."""
    # `Connection` speaks of trailers too (RFC 9110 section 7.6.1).
    connection = [header for header in headers if header[0] == b"connection"]
    return [field for field in towards_client([*connection, *trailers]) if field[0] not in FORBIDDEN]


def announced_trailers(headers: RawHeaders) -> RawHeaders:
    """The `Trailer` header, as far as what the adapter announces by it may pass; empty without any."""
    values = [value for name, value in headers if name == b"trailer"]
    names = [token.strip().lower() for value in values for token in value.split(b",")]
    passing = trailers_towards_client([(name, b"") for name in names if name], headers)
    return [(b"trailer", b", ".join(name for name, _ in passing))] if passing else []
