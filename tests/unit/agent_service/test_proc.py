from __future__ import annotations

from pathlib import Path

import pytest

from agent_service.proc import Stat, all_stats, has_proc, has_variable, parse_stat, read_stat, read_variables


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
    (proc / "42" / "stat").write_text(line("python", "S"))
    (proc / "42" / "environ").write_bytes(b"A=\xff\0NAME=value\0")
    assert has_variable(42, "NAME", "value")
    assert not has_variable(42, "NAME", "valu")
    assert not has_variable(42, "NAM", "E=value")
    assert not has_variable(42, "AME", "value")
    assert not has_variable(43, "NAME", "value")


def test_an_environment_is_read_as_it_was_given(proc: Path) -> None:
    (proc / "42").mkdir()
    (proc / "42" / "stat").write_text(line("python", "S"))
    (proc / "42" / "environ").write_bytes(b"A=\xff\0NAME=a=b\0EMPTY=\0nonsense\0\0")
    assert read_variables(42) == {"A": "\udcff", "NAME": "a=b", "EMPTY": ""}
    assert read_variables(43) == {}


def image(memory: int, environment_begins: int) -> str:
    fields = line("python", "R").split()
    fields[22], fields[49] = str(memory), str(environment_begins)
    return " ".join(fields)


@pytest.mark.parametrize("begins", [0, 4096])
def test_one_that_is_being_replaced_by_another_program_is_looked_at_again(
    proc: Path, monkeypatch: pytest.MonkeyPatch, begins: int
) -> None:
    (proc / "42").mkdir()
    (proc / "42" / "environ").touch()
    (proc / "42" / "stat").write_text(image(8192, begins))
    monkeypatch.setattr("time.sleep", lambda _seconds: (proc / "42" / "environ").write_bytes(b"NAME=value\0"))
    assert has_variable(42, "NAME", "value")


@pytest.mark.parametrize(("memory", "begins"), [(0, 0), (8192, 4096)])
def test_one_without_any_environment_has_no_variable(
    proc: Path, monkeypatch: pytest.MonkeyPatch, memory: int, begins: int
) -> None:
    paused: list[float] = []
    (proc / "42").mkdir()
    (proc / "42" / "environ").touch()
    (proc / "42" / "stat").write_text(image(memory, begins))
    monkeypatch.setattr("time.sleep", paused.append)
    assert not has_variable(42, "NAME", "value")
    assert len(paused) == (1 if memory else 0)


def test_a_system_without_proc_is_known(proc: Path) -> None:
    assert not has_proc()
    (proc / "self").mkdir()
    (proc / "self" / "stat").touch()
    assert has_proc()
