from __future__ import annotations

import pytest

from agent_service.log_redaction import REDACTED, Redaction


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


# Put together here, so that no scanner takes them for real ones.
KEYS = [
    "sk-" + "a1B2" * 8,
    "sk-ant-" + "api03-" + "x" * 24,
    "ghp_" + "a" * 36,
    "github_pat_" + "b" * 30,
    "glpat-" + "c" * 20,
    "xoxb-" + "1234567890-abc",
    "AKIA" + "ABCDEFGHIJKLMNOP",
    "AIza" + "d" * 35,
    "hf_" + "e" * 30,
    ".".join(("eyJ" + "f" * 20, "eyJ" + "g" * 20, "h" * 20)),
    "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key[:8])
def test_what_has_the_shape_of_a_key_is_replaced(key: str) -> None:
    assert Redaction(()).text(f"called with {key}, in vain") == f"called with {REDACTED}, in vain"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Bearer abcdefgh12345", f"Authorization: Bearer {REDACTED}"),
        ("password=correct-horse-battery", f"password={REDACTED}"),
        ('{"api_key": "0123456789"}', f'{{"api_key": "{REDACTED}"}}'),
        ("postgres://user:hunter2@db/x", f"postgres://user:{REDACTED}@db/x"),
        ("password: pässwört-überall", f"password: {REDACTED}"),
        (
            '{"from":"http://x","to":"y:z@w","secret":"01234567"}',
            f'{{"from":"http://x","to":"y:z@w","secret":"{REDACTED}"}}',
        ),
    ],
)
def test_what_stands_behind_the_name_of_a_secret_is_replaced(text: str, expected: str) -> None:
    assert Redaction(()).text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens=12345678",
        "task-0123456789abcdef0123456789",
        "risk-assessment-of-the-whole-plan",
        "http://127.0.0.1:8000/api@home",
        "2026-01-02T03:04:05.678Z",
        "the token was refused",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert Redaction(()).text(text) == text
