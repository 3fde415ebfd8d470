from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_service.log_output import RedactedOutput
from agent_service.log_redaction import REDACTED, Redaction

# Put together here, so that no scanner takes them for real ones.
SHAPED = "ghp_" + "a" * 36
KEY = "\n".join(["-----BEGIN RSA PRIVATE KEY-----", *["Q" * 64] * 3, "QQ==", "-----END RSA PRIVATE KEY-----"])


def printed(writes: Sequence[str], secrets: Sequence[str] = ()) -> str:
    """What arrives of `writes` where Python's own text layer lies in between."""
    stream = io.BytesIO()
    output = io.TextIOWrapper(RedactedOutput(Redaction(secrets), (stream,)), encoding="utf-8", line_buffering=True)
    for text in writes:
        output.write(text)
    output.flush()
    return stream.getvalue().decode()


def test_known_and_shaped_secrets_do_not_arrive() -> None:
    assert printed([f"a {SHAPED}\n", "b s3cret", " c\n"], ("s3cret",)) == f"a {REDACTED}\nb {REDACTED} c\n"


def test_a_secret_that_is_printed_by_name_does_not_arrive() -> None:
    stream = io.BytesIO()
    output = io.TextIOWrapper(RedactedOutput(Redaction(()), (stream,)), line_buffering=True)
    print("token", "0123456789", sep="=", file=output)
    assert stream.getvalue().decode() == f"token={REDACTED}\n"


def test_each_stream_gets_it() -> None:
    streams = io.BytesIO(), io.BytesIO()
    output = RedactedOutput(Redaction(("s3cret",)), streams)
    assert output.write(memoryview(b"\xff s3cret\n")) == 9
    output.flush()
    assert [each.getvalue() for each in streams] == [b"\xff [redacted]\n"] * 2


def test_it_passes_for_the_first_stream(tmp_path: Path) -> None:
    with (tmp_path / "a.log").open("wb") as first:
        output = RedactedOutput(Redaction(()), (first, io.BytesIO()))
        assert (output.fileno(), output.isatty(), output.name) == (first.fileno(), False, first.name)


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_a_private_key_is_taken_out_however_many_lines_come_at_once(size: int) -> None:
    lines = f"before\n{KEY}\nafter\n".splitlines(keepends=True)
    writes = ["".join(lines[start : start + size]) for start in range(0, len(lines), size)]
    arrived = printed(writes)
    assert "Q" * 16 not in arrived
    assert arrived.startswith("before\n") and arrived.endswith("\nafter\n")


def test_a_key_that_does_not_end_takes_nothing_else_along() -> None:
    head, *_ = KEY.splitlines()
    assert printed([f"{head}\n", "Q" * 64 + "\n", "and so on\n", "Q" * 64 + "\n"]) == (
        f"{REDACTED}\nand so on\n{'Q' * 64}\n"
    )


def test_the_beginning_of_a_key_within_json_leaves_it_json() -> None:
    head, *_ = KEY.splitlines()
    assert printed([f'{{"key": "{head}"}}\n', "another line\n"]) == f'{{"key": "{REDACTED}"}}\nanother line\n'


def test_two_keys_one_after_the_other() -> None:
    lines = f"{KEY}\n{KEY}\n".splitlines(keepends=True)
    assert "Q" * 16 not in printed(lines)


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=80), max_size=20))
def test_what_holds_no_secret_arrives_as_it_is(writes: list[str]) -> None:
    whole = "".join(writes)
    assert printed(writes) == whole or Redaction(()).text(whole) != whole
