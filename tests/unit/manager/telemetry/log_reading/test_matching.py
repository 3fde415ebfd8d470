from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from manager.telemetry.log_reading.entry import Context
from manager.telemetry.log_reading.matching import Matcher
from manager.telemetry.log_reading.query import LogQuery
from tests.unit.manager.telemetry.log_reading.logbook import START, line


def matches(said: str, /, **criteria: Any) -> bool:
    matcher = Matcher(LogQuery(agents=("a",), **criteria))
    data = said.encode()
    found = matcher.says(data) and matcher.matches(Context("a").entry(data))
    # What a line says, a block of lines around it may not hide.
    assert not found or matcher.may_match(b"before\n" + data + b"\nafter\n")
    return found


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ({}, True),
        ({"level": "info"}, True),
        ({"level": "warning"}, False),
        ({"request": "r-1"}, True),
        ({"request": "r"}, False),
        ({"trace": "t-1", "task": "k-1"}, True),
        ({"trace": "t-1", "task": "k-2"}, False),
        ({"instance": "i-1"}, True),
        ({"instance": "i-2"}, False),
        ({"text": 'GRÜSSE an "alle"'}, True),
        ({"text": "TASK DONE"}, True),
        ({"text": "undone"}, False),
        ({"regex": r"Task \w+"}, True),
        ({"regex": r"task \w+"}, False),
        ({"regex": r"(?i)task|nothing"}, True),
        ({"regex": r"dones?"}, True),
        ({"since": START}, True),
        ({"until": START}, False),
    ],
)
def test_a_line_matches_when_every_criterion_holds(criteria: dict[str, Any], expected: bool) -> None:
    text = line(1, "Task done", request_id="r-1", trace_id="t-1", task_id="k-1", said='Grüße, GRÜSSE an "alle"')
    assert matches(text, **criteria) is expected


@pytest.mark.parametrize(
    ("text", "level"),
    [
        (line(0, "x", level="warning"), "warning"),
        ("WARN: x", "warning"),
        ('{"severity": "Fatal", "msg": "x"}', "critical"),
        ('{"lvl": 1, "level": "ERR"}', "error"),
        ("Traceback (most recent call last):", "error"),
        ("12:00 ERROR x", "warning"),
    ],
)
def test_every_spelling_of_a_level_is_found(text: str, level: str) -> None:
    assert matches(text, level=level)


@pytest.mark.parametrize("instance", ["0f-A", "é", 'q"', "a/b"])
def test_an_instance_is_found_however_json_writes_it(instance: str) -> None:
    assert matches(line(0, "x", instance_id=instance), instance=instance)
    escaped = json.dumps({"instance_id": instance}, ensure_ascii=False).replace("/", r"\/")
    assert matches(escaped, instance=instance)


def test_a_line_without_a_time_is_in_no_range_and_one_without_a_level_of_none() -> None:
    assert not matches("raw", since=START) and not matches("raw", level="debug")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kilo", "\u212aILO"),
        ("Wi", "W\u0130"),
        ("Ω", "ω"),
        ("größe", "GRÖßE"),
    ],
)
def test_letters_outside_ascii_are_found_in_any_case(text: str, said: str) -> None:
    assert matches(said, text=text)


def test_letters_outside_ascii_that_become_ascii_in_lower_case_are_those_that_are_known() -> None:
    cased = [letter for letter in map(chr, range(128, sys.maxunicode + 1)) if letter.lower() != letter]
    assert {letter for letter in cased if any(map(str.isascii, letter.lower()))} == {"\u0130", "\u212a"}


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("ab*c", "ac"),
        ("ab?c", "ac"),
        ("a{0}bc", "bc"),
        ("x|yz", "yz"),
        ("[abc]d", "cd"),
        (r"a\.b", "a.b"),
        (r"\d+ ms", "12 ms"),
        (r"took \d+", "took 7"),
        (r"\x41b", "Ab"),
        ("(ab)?c", "c"),
        ("a+", "a"),
    ],
)
def test_a_line_that_an_expression_matches_is_never_passed_over(pattern: str, text: str) -> None:
    assert matches(text, regex=pattern)
