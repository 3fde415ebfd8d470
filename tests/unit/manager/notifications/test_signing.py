from __future__ import annotations

import pytest

from manager.notifications.signing import signed_headers
from manager.webhook_settings import signing_key


def test_the_signature_is_that_of_the_specification_s_own_example() -> None:
    # https://github.com/standard-webhooks/standard-webhooks: the example that all of its libraries are tested with.
    key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    assert signed_headers(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_secret_without_the_prefix_is_taken_as_it_is() -> None:
    assert signing_key("correct horse battery staple") == b"correct horse battery staple"


@pytest.mark.parametrize(
    ("secret", "advice"),
    [("short", "make it longer"), ("whsec_####", "24 to 64 bytes"), ("whsec_AAAA", "24 to 64 bytes"), ("", "longer")],
)
def test_a_secret_that_protects_nothing_is_refused(secret: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        signing_key(secret)
