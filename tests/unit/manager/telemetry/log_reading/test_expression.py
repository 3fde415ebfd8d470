from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from manager.errors import BadRequest
from manager.telemetry.log_reading.expression import Expression

WORDS = ["a", "b", "ab", "A", "k", "é", " ", "1", '"']
PARTS = [
    *WORDS,
    *(r"\.", r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", r"\b", r"\B", r"\A", r"\z", r"\n", r"\r", r"\(", r"\|", r"\\"),
    *("[ab]", "[^a]", "[^]a]", "[a|b]", "[(]", "[[:alpha:]]", ".", "^", "$", "|", "(", "(?:", "(?P<n>", ")"),
    *("(?i)", "(?s)", "(?m)", "(?-m)", "(?U)", "(?i:", "(?i-s:", "(?-m:", "*", "+", "?", "*?", "{2}", "{0}", "{0,1}"),
    *(r"\pL", r"\PL", r"\Q", r"\E", r"\C", "{", "}", "-"),
]
PATTERNS = st.lists(st.sampled_from(PARTS), min_size=1, max_size=8).map("".join)
LINES = st.lists(
    st.lists(st.sampled_from([*WORDS, ".", "(", "|", "\\", "\r", "\u212a", "\n", ""]), max_size=6).map("".join),
    max_size=5,
)
BYTES = st.sampled_from([b"", b"\xe2\x84", b"\xff"])


def lines_of(text: bytes) -> list[bytes]:
    return [each.rstrip(b"\r") for each in text.split(b"\n")]


@given(PATTERNS, LINES, BYTES)
@example("a$", ["a\r", ""], b"")
@example("(?-m)a$", ["a", "b"], b"")
@example("(?-m:^b)", ["a", "b"], b"")
@example(r"a\z", ["a", "b"], b"")
@example("(?i)(k|x)a", ["\u212aa"], b"")
@example("a.", ["a"], b"\xff")
def test_many_lines_are_never_passed_over_where_one_matches(pattern: str, lines: list[str], odd: bytes) -> None:
    try:
        found = Expression(pattern)
    except BadRequest:
        assume(False)
    text = odd + "\n".join(lines).encode() + odd
    assert found.may_be_in(text) or not any(found.is_in(line) for line in lines_of(text))


@pytest.mark.parametrize(
    "pattern",
    [
        "nothing",
        r"took \d{4,} ms",
        r"(?i)nothing happ\w+",
        r"(timeout|refused|reset) by peer",
        "(?i)timeout|refused|eof",
        "^Traceback",
        "nothing$",
        r"\bpanic\b",
        r'"event": ?"Agent (?:started|stopped)"',
        "[A-Z]{9}",
        r"(?P<user>\w+)@\w+\.com",
        "größe",
    ],
)
def test_many_lines_are_passed_over_at_once_by_usual_expressions(pattern: str) -> None:
    assert not Expression(pattern).may_be_in(b'{"event": "Task done"}\nraw\n' * 100)


@pytest.mark.parametrize("pattern", [r"\Ax", r"x\z", "(?-m)x$"])
def test_it_is_each_lines_turn_where_more_than_the_line_counts(pattern: str) -> None:
    assert Expression(pattern).may_be_in(b"nothing\n")


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(", "missing )"),
        ("a{20000}", "invalid repetition size"),
        ("(a{200}){200}", "invalid repetition size"),
        ("a(?=b)", "invalid perl operator"),
        (r"(a)\1", "invalid escape sequence"),
        ("\ud800", ""),
    ],
)
def test_what_is_none_would_take_all_memory_or_looks_around_is_refused(
    pattern: str, why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadRequest, match=f"^regex .*RE2.*{re.escape(why)}.*search for a text"):
        Expression(pattern)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("pattern", [r"^(a|aa)+$", r"^(a|a)*b+$", r"(x+x+)+y"])
def test_no_expression_is_catastrophic(pattern: str) -> None:
    line = b"a" * 50_000 + b"x" * 50_000 + b"!"
    assert not Expression(pattern).is_in(line)
    assert not Expression(pattern).may_be_in(line + b"\n")
