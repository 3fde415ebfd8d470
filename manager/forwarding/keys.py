"""Idempotency keys: how they are read, which requests are the same, and what is said where no answer is left."""

from __future__ import annotations

import hashlib
import re

from agent_service.http.client.answer import RawHeaders
from manager.errors import BadRequest, KeyReused, StateConflict
from manager.forwarding.request import ForwardRequest
from manager.store.keyed_answers import KeyedCall

HEADER = b"idempotency-key"

# A quoted string as the draft has it (RFC 8941 section 3.3.3), or, as most clients send it, the bare text.
_KEY = re.compile(rb'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\]){1,255})"|([\x21\x23-\x7e]{1,255})')


def key_of(headers: RawHeaders) -> str | None:
    """The request's idempotency key, None without one. Raises `BadRequest`."""
    values = [value for name, value in headers if name == HEADER]
    if not values:
        return None
    match = _KEY.fullmatch(values[0].strip()) if len(values) == 1 else None
    if match is None:
        raise BadRequest(
            "The Idempotency-Key cannot be used; send one such header, of 1 to 255 visible ASCII characters, "
            "for example a UUID."
        )
    quoted, bare = match.groups()
    return str((re.sub(rb"\\(.)", rb"\1", quoted) if quoted is not None else bare).decode("ascii"))


def fingerprint_of(request: ForwardRequest) -> str:
    """What two requests have in common when they are the same: body and Accept. The body must be whole."""
    assert isinstance(request.body, bytes)
    accept = b",".join(value for name, value in request.headers if name == b"accept")
    return hashlib.sha256(accept.strip().lower() + b"\0" + request.body).hexdigest()


def name_of(record: KeyedCall) -> str:
    """What the call is called towards the adapter: nobody guesses it, and no other call has it."""
    parts = (record.agent_id, record.key, record.fingerprint, record.created_at)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def require_same(record: KeyedCall, fingerprint: str) -> None:
    """Raises `KeyReused` for another request than the first one with this key."""
    if record.fingerprint != fingerprint:
        raise KeyReused(
            f"The Idempotency-Key {record.key!r} has been used for another request (its body or its Accept header "
            "differs); send a new request with a new key.",
            agent_id=record.agent_id,
        )


def outcome_unknown(record: KeyedCall, what: str) -> StateConflict:
    """The error for a call that may have been run; `what` became of it."""
    return StateConflict(
        f"The request with the Idempotency-Key {record.key!r} {what.rstrip('.')}. Whether it was done is not known; "
        "look at the agent's log, and send it with a new key if it is to be done again.",
        agent_id=record.agent_id,
    )


def not_kept(record: KeyedCall) -> StateConflict:
    """The error for a call whose answer has been given and is gone."""
    return StateConflict(
        f"The request with the Idempotency-Key {record.key!r} has been run, but its answer was too large to keep "
        "(runtime.idempotencyMaxAnswerBytes, idempotencyMaxStoredBytes); it is not run again. "
        "Send it with a new key if it is to be done again.",
        agent_id=record.agent_id,
    )
