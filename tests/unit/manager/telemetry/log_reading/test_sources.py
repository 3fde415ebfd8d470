from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.telemetry.log_reading import blocks, sources
from manager.telemetry.log_reading import reader as reader_module
from manager.telemetry.log_reading.entry import LEVELS, Context, LogEntry
from manager.telemetry.log_reading.matching import Matcher
from tests.unit.manager.telemetry.log_reading.logbook import START, Logbook, line

VALUES = ["a", "a-1", "B", "é", 'q"']
LINES = st.lists(
    st.sampled_from(
        [
            *(
                json.dumps({"event": f"x {value}", key: value, "level": level}, ensure_ascii=ascii_only)
                for value in VALUES
                for key in ("instance_id", "request_id", "task_id")
                for level in ("info", "ERR", "warn")
                for ascii_only in (True, False)
            ),
            *(line(second, "timed", instance_id="a-1") for second in range(3)),
            *(
                "raw a",
                "RAW É",
                "ERROR b",
                "\u212a",
                "",
                "{no json",
                '{"trace_id": "a"}',
                "half\rway\r",
                "    a",
                "| b",
            ),
            *("Traceback (most recent call last):", '  File "a"', "KeyboardInterrupt"),
        ]
    ),
    max_size=40,
)
TEXTS = st.sampled_from([*VALUES, "k", "x A", "none"])
CRITERIA = st.fixed_dictionaries(
    {},
    optional={
        "level": st.sampled_from(LEVELS),
        "instance": TEXTS,
        "request": TEXTS,
        "trace": TEXTS,
        "task": TEXTS,
        "text": TEXTS,
        "regex": st.sampled_from(["a$", "^raw", r"(?i)raw \w", "x (a|é)", r"\d+", r"\Ax|a\z", "[^b]+B", "none|E.ROR"]),
        "since": st.just(START),
        "order": st.sampled_from(["newest", "oldest"]),
    },
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few lines are many blocks, pieces and runs, and time is never up."""
    monkeypatch.setattr(reader_module, "PAGE_SECONDS", 600.0)
    monkeypatch.setattr("manager.telemetry.log_reading.scan._FIRST_BYTES", 100)
    monkeypatch.setattr(blocks, "MOST_BYTES", 700)
    monkeypatch.setattr(blocks, "_LONGEST_RUN", 3)
    monkeypatch.setattr(blocks, "_CONTEXT_BYTES", 300)
    monkeypatch.setattr(sources, "_PIECE_BYTES", 150)
    monkeypatch.setattr(sources, "_FEW_BYTES", 40)


def entries(lines: list[str], criteria: dict[str, Any]) -> list[LogEntry]:
    with tempfile.TemporaryDirectory() as directory:
        book = Logbook(Path(directory))
        book.write("a", *lines)
        return book.page("a", lines=1000, **criteria).entries


@given(LINES, CRITERIA)
def test_looking_through_many_lines_at_once_finds_what_looking_at_each_does(
    lines: list[str], criteria: dict[str, Any]
) -> None:
    found = entries(lines, criteria)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Matcher, "may_match", lambda matcher, lines: True)
        assert found == entries(lines, criteria)


def test_of_lines_among_which_one_matches_few_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = Logbook(tmp_path)
    book.write("a", *(line(number, str(number)) for number in range(1000)), line(1000, "x", level="error"))
    understood: list[bytes] = []
    inner = Context.entry
    monkeypatch.setattr(Context, "entry", lambda context, data: understood.append(data) or inner(context, data))
    for criteria in ({"level": "error"}, {"text": '"X"'}, {"regex": '"(x|y)"'}):
        assert book.said("a", **criteria) == ["x"]
    # One of each block tells its time.
    assert len(understood) < 1000


def test_a_traceback_is_an_error_from_its_first_block_to_its_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "_CONTEXT_BYTES", 64 * 1024)
    book = Logbook(tmp_path)
    lines = [
        "Traceback (most recent call last):",
        *(f'  File "{number}"' for number in range(100)),
        "KeyboardInterrupt",
    ]
    book.write("a", line(1, "x"), *lines, line(2, "y"))
    for order in ("newest", "oldest"):
        assert book.said("a", level="error", order=order) == lines
