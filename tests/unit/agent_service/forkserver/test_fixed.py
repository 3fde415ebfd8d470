from __future__ import annotations

import os

import pytest

from agent_service.forkserver.fixed import differing, fixed_variables, names_read


def test_what_was_read_is_fixed_found_or_not_and_so_is_what_the_interpreter_reads() -> None:
    environment = {"READ": "1", "UNREAD": "2", "PYTHONPATH": "x", "LD_PRELOAD": "y"}
    fixed = fixed_variables({"READ", "MISSED"}, environment)
    assert fixed == {"READ": "1", "MISSED": None, "PYTHONPATH": "x", "LD_PRELOAD": "y"}


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({}, []),
        ({"UNREAD": "3", "NEW": "4"}, []),
        ({"READ": "2"}, ["READ"]),
        ({"READ": None, "MISSED": "1"}, ["MISSED", "READ"]),
        ({"PYTHONPATH": None}, ["PYTHONPATH"]),
        ({"PYTHONUTF8": "1"}, ["PYTHONUTF8"]),
    ],
)
def test_an_environment_differs_in_what_would_have_been_read_otherwise(
    change: dict[str, str | None], names: list[str]
) -> None:
    environment = {"READ": "1", "UNREAD": "2", "PYTHONPATH": "x"}
    fixed = fixed_variables({"READ", "MISSED"}, environment)
    changed = {name: value for name, value in {**environment, **change}.items() if value is not None}
    assert differing(fixed, changed) == names


def test_every_way_to_ask_for_one_variable_is_noticed_and_looking_at_all_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SET", "value")
    with names_read() as names:
        assert os.environ["SET"] == os.environ.get("SET") == os.getenv("SET") == "value"
        assert "BY_IN" not in os.environ
        assert os.getenv("BY_GETENV", "default") == "default"
        assert dict(os.environ.items())["SET"] == "value"
        os.environ["WRITTEN"] = "1"
        del os.environ["WRITTEN"]
    os.environ.get("AFTERWARDS")
    assert {"SET", "BY_IN", "BY_GETENV"} <= names
    assert not {"AFTERWARDS", "PATH"} & names
