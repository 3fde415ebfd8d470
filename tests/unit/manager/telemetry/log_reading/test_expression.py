from __future__ import annotations

import pytest
import regex
from hypothesis import assume, example, given
from hypothesis import strategies as st

from manager.errors import BadRequest
from manager.telemetry.log_reading import expression
from manager.telemetry.log_reading.expression import Expression

WORDS = ["a", "b", "ab", "A", "k", "é", " ", "1", '"']
PARTS = [
    *WORDS,
    *(r"\.", r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", r"\b", r"\B", r"\A", r"\Z", r"\n", r"\r", r"\(", r"\|", r"\\"),
    *(
        "[ab]",
        "[^a]",
        "[^]a]",
        "[a|b]",
        "[(]",
        "[[:alpha:]]",
        ".",
        "^",
        "$",
        "|",
        "(",
        "(?:",
        "(?P<n>",
        ")",
        "(?=",
        "(?!",
    ),
    *(
        "(?<=",
        "(?<!",
        "(?>",
        "(?i)",
        "(?s)",
        "(?m)",
        "(?i:",
        "*",
        "+",
        "?",
        "*?",
        "++",
        "*+",
        "{2}",
        "{0}",
        "{,1}",
        "{2}+",
    ),
    *(r"\1", r"\K", r"\p{L}", "{e<=1}", "{", "}", "(*SKIP)"),
]
PATTERNS = st.lists(st.sampled_from(PARTS), min_size=1, max_size=8).map("".join)
CHOICES = st.builds(
    "{}{}({}){}".format,
    st.sampled_from(["", "(?i)"]),
    st.sampled_from(["", "a", "^"]),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map("|".join),
    st.sampled_from(["", "b", "$", "?", "{2}"]),
)
LINES = st.lists(
    st.lists(st.sampled_from([*WORDS, ".", "(", "|", "\\", "\r", "\u212a", "\n", ""]), max_size=6).map("".join),
    max_size=5,
)
BYTES = st.sampled_from([b"", b"\xe2\x84", b"\xff"])


def lines_of(text: bytes) -> list[bytes]:
    return [each.rstrip(b"\r") for each in text.split(b"\n")]


@given(PATTERNS | CHOICES, LINES, BYTES)
@example("a$", ["a\r", ""], b"")
@example(r"a\s++$", ["a ", "b"], b"")
@example("a(?!.*b)", ["a", "b"], b"")
@example(r"a\|b", ["a|b"], b"")
@example(r"\(a|b\)", ["(a"], b"")
@example("(?i)(k|x)a", ["\u212aa"], b"")
def test_many_lines_are_never_passed_over_where_one_matches(pattern: str, lines: list[str], odd: bytes) -> None:
    try:
        regex.compile(pattern)
    except regex.error:
        assume(False)
    found = Expression(pattern)
    text = odd + "\n".join(lines).encode()
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


@pytest.mark.parametrize(
    "pattern", [r"a(?!b)x", r"\Ax", r"(?<=b)x", r"(?>a+)x", r"a++x", r"(a)\1x", r"(?:ax){e<=1}", r"\Bx"]
)
def test_it_is_each_lines_turn_where_more_than_the_line_counts(pattern: str) -> None:
    assert Expression(pattern).may_be_in(b"nothing\n")


@pytest.mark.parametrize("pattern", ["(", "a{20000}", "(a{200}){200}", "(?P<x>a)(?P<y"])
def test_an_expression_that_is_none_or_would_take_all_memory_is_refused(pattern: str) -> None:
    with pytest.raises(BadRequest, match=r"^regex "):
        Expression(pattern)


@pytest.mark.parametrize("pattern", [r"^(a|aa)+$", r"^(a|a)*b*$"])
def test_a_catastrophic_expression_is_cut_off_at_a_line_and_not_before(pattern: str) -> None:
    line = b"a" * 70 + b"!"
    found = Expression(pattern)
    assert found.may_be_in(line + b"\n")
    with pytest.raises(BadRequest, match="more than"):
        found.is_in(line)


def test_lines_are_no_longer_looked_through_at_once_when_that_took_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expression, "_WASTED_SECONDS", expression._FEWEST_SECONDS)
    found = Expression(r"^(a|aa)+$")
    assert not found.may_be_in(b"b\n")
    assert found.may_be_in(b"a" * 70 + b"!\n")
    assert found.may_be_in(b"b\n")
