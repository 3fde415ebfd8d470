from __future__ import annotations

import pytest

from manager.telemetry.redaction import REDACTED, Redaction


def test_secret_values_are_replaced_wherever_they_stand() -> None:
    redaction = Redaction(("s3cret", "s3cret-longer", ""))
    assert redaction.text("a s3cret, b s3cret-longer") == f"a {REDACTED}, b {REDACTED}"
    assert redaction.value({"url": ["http://x?k=s3cret", ("s3cret",)], "s3cret": b"s3cret"}) == {
        "url": [f"http://x?k={REDACTED}", [REDACTED]],
        REDACTED: f"b'{REDACTED}'",
    }


@pytest.mark.parametrize(
    "key",
    [
        "token",
        "X-Manager-Token",
        "MANAGER_TOKEN_PREVIOUS",
        "accessToken",
        "client_secret",
        "password",
        "OPENAI_API_KEY",
        "apiKey",
        "Authorization",
        "set-cookie",
    ],
)
def test_what_a_secret_looking_key_holds_is_replaced(key: str) -> None:
    assert Redaction(()).value({"env": {key: "value"}}) == {"env": {key: REDACTED}}


@pytest.mark.parametrize("key", ["tokens", "max_tokens", "token_count", "keyboard", "agent_id"])
def test_ordinary_keys_keep_their_values(key: str) -> None:
    assert Redaction(()).value({key: 7}) == {key: 7}


def test_an_empty_secret_is_shown_to_be_empty() -> None:
    assert Redaction(()).value({"token": None, "password": ""}) == {"token": None, "password": ""}


def test_json_values_keep_their_types() -> None:
    value = {"a": [1, 2.5, True, None, "x"]}
    assert Redaction(("y",)).value(value) == value
