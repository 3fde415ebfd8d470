"""Who has entered the manager's token in this browser: a signed cookie that runs out, with no state on the server."""

from __future__ import annotations

import hmac
import secrets
from datetime import timedelta

from manager.clock import Clock

COOKIE_NAME = "agent_manager_session"
LIFETIME = timedelta(hours=12)
_PURPOSE = b"agent-manager dashboard session v1"


class Session:
    """Issues and checks cookie values for the tokens that are valid now; without tokens nobody signs in.

    A value is `expiry.nonce.signature`: expiry in Unix seconds, the signature an HMAC under a key derived from
    the token. It tells nothing of the token, and ends with its time or with its token, whichever is first.
    """

    def __init__(self, tokens: tuple[str, ...], clock: Clock) -> None:
        self._tokens = tuple(token.encode() for token in tokens)
        self._clock = clock

    @property
    def required(self) -> bool:
        """Whether the dashboard asks for a token at all."""
        return bool(self._tokens)

    def issue(self, token: str) -> str | None:
        """A cookie value for who knows `token`, good for `LIFETIME`; None when the token is wrong."""
        given = token.encode(errors="replace")
        # Every token is compared, so that the time taken does not tell which one was near.
        matches = [known for known in self._tokens if hmac.compare_digest(known, given)]
        if not matches:
            return None
        expiry = int((self._clock.now() + LIFETIME).timestamp())
        payload = f"{expiry}.{secrets.token_hex(16)}"
        return f"{payload}.{_signature(matches[0], payload)}"

    def valid(self, cookie_value: str | None) -> bool:
        """Whether this value was issued for a token that is still valid, and has not run out."""
        if not cookie_value or not cookie_value.isascii():
            return False
        payload, _, signature = cookie_value.rpartition(".")
        signed = [hmac.compare_digest(_signature(token, payload), signature) for token in self._tokens]
        # The expiry is trusted only once the signature over it has been checked.
        return any(signed) and int(payload.partition(".")[0]) > self._clock.now().timestamp()


def _signature(token: bytes, payload: str) -> str:
    key = hmac.digest(token, _PURPOSE, "sha256")
    return hmac.digest(key, payload.encode(), "sha256").hex()
