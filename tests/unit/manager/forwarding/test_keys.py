from __future__ import annotations

import pytest

from manager.errors import BadRequest
from manager.forwarding.keys import key_of


@pytest.mark.parametrize("value", [b"", b'""', b'"open', b"two words", b"\xff", b"a" * 256, b'"a\\b"'])
def test_a_malformed_key_is_refused(value: bytes) -> None:
    with pytest.raises(BadRequest, match="UUID"):
        key_of([(b"idempotency-key", value)])


def test_two_keys_are_refused() -> None:
    with pytest.raises(BadRequest):
        key_of([(b"idempotency-key", b"a"), (b"idempotency-key", b"b")])


@pytest.mark.parametrize(
    ("value", "key"), [(b"abc", "abc"), (b'"abc"', "abc"), (b'"a \\" b"', 'a " b'), (b"8e03978e-40d5", "8e03978e-40d5")]
)
def test_a_key_is_read_bare_or_quoted(value: bytes, key: str) -> None:
    assert key_of([(b"accept", b"*/*"), (b"idempotency-key", value)]) == key
    assert key_of([]) is None
