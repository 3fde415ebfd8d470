from __future__ import annotations

from pathlib import Path

import pytest

from agent_service.proc import Stat, all_stats, has_proc, has_variable, parse_stat, read_stat


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("agent_service.proc._PROC", tmp_path)
    return tmp_path


def line(name: str, state: str) -> str:
    fields = " ".join(str(number) for number in range(4, 53))
    return f"42 ({name}) {state} {fields}"


def test_a_name_with_spaces_and_brackets_does_not_move_the_fields() -> None:
    assert parse_stat(42, line("my (odd) name) 1", "S")) == Stat(42, "S", 4, 5, 6, "22")


@pytest.mark.parametrize(
    ("state", "alive"), [("S", True), ("R", True), ("D", True), ("T", True), ("Z", False), ("X", False)]
)
def test_a_zombie_is_over(state: str, alive: bool) -> None:
    assert parse_stat(42, line("python", state)).is_alive is alive


def test_a_number_that_was_given_again_is_another_process() -> None:
    one = parse_stat(42, line("python", "S"))
    assert one.is_same(Stat(42, "R", 1, 1, 1, "22"))
    assert not one.is_same(Stat(42, "S", 4, 5, 6, "23"))
    assert not one.is_same(Stat(43, "S", 4, 5, 6, "22"))
    assert not one.is_same(None)


def test_processes_are_read_from_proc_and_who_has_gone_meanwhile_is_left_out(proc: Path) -> None:
    (proc / "42").mkdir()
    (proc / "42" / "stat").write_text(line("python", "S"))
    (proc / "43").mkdir()
    (proc / "meminfo").touch()
    assert list(all_stats()) == [parse_stat(42, line("python", "S"))]
    assert read_stat(42) == parse_stat(42, line("python", "S"))
    assert read_stat(43) is None


def test_a_variable_is_known_by_its_whole_name_and_its_whole_value(proc: Path) -> None:
    (proc / "42").mkdir()
    (proc / "42" / "environ").write_bytes(b"A=\xff\0NAME=value\0")
    assert has_variable(42, "NAME", "value")
    assert not has_variable(42, "NAME", "valu")
    assert not has_variable(42, "NAM", "E=value")
    assert not has_variable(42, "AME", "value")
    assert not has_variable(43, "NAME", "value")


def test_a_system_without_proc_is_known(proc: Path) -> None:
    assert not has_proc()
    (proc / "self").mkdir()
    (proc / "self" / "stat").touch()
    assert has_proc()
