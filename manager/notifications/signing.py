"""How a receiver knows that a notification comes from this manager, was not changed, and is not an old one.

As the Standard Webhooks specification has it (https://github.com/standard-webhooks/standard-webhooks), so that its
libraries verify them: HMAC-SHA256 over `id.timestamp.body`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac


def signed_headers(key: bytes, delivery_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of one attempt; `timestamp` (seconds since 1970) is that of the attempt."""
    content = f"{delivery_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    return {"webhook-id": delivery_id, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{signature}"}
