from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from manager.diagnosis import interpreter
from manager.diagnosis.clock import check_clock
from manager.diagnosis.examination import examine
from manager.diagnosis.interpreter import check_packages, check_python
from manager.diagnosis.open_files import check_open_files
from manager.diagnosis.running_manager import check_manager
from manager.diagnosis.surroundings import ManagerAnswers
from tests.unit.manager.diagnosis.set_up import broken, found, surroundings
from tests.unit.manager.fakes.clock import START

URL = "http://127.0.0.1:8000"


def test_a_broken_config_keeps_no_other_check_from_speaking(tmp_path: Path) -> None:
    checks = {finding.check for finding in examine(broken(surroundings(tmp_path)))}
    assert {"python", "packages", "tokens", "lock", "clock", "manager"} <= checks


def test_an_old_python_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(check_python, surroundings(tmp_path))[0][0] != "error"
    monkeypatch.setattr(interpreter, "OLDEST", (99, 0))
    assert found(check_python, surroundings(tmp_path))[0][0] == "error"


def test_a_missing_package_is_named_with_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(check_packages, surroundings(tmp_path)) == [("ok", "All required packages are installed")]
    monkeypatch.setattr(interpreter, "_is_installed", lambda name: name != "uvicorn")
    assert found(check_packages, surroundings(tmp_path)) == [("error", "Not installed: uvicorn")]


def touched(path: Path, seconds: float) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    os.utime(path, (START.timestamp() + seconds,) * 2)


@pytest.mark.parametrize("place", ["logs/one.log", ".state/manager.db"])
def test_files_from_the_future_tell_that_the_clock_was_set_back(place: str, tmp_path: Path) -> None:
    touched(tmp_path / place, 3)
    assert found(check_clock, surroundings(tmp_path))[0][0] == "ok"
    touched(tmp_path / place, 7200)
    assert found(check_clock, surroundings(tmp_path)) == [
        ("warning", "The clock was set back: files were written 7,200 s from now")
    ]


def test_another_clock_than_the_manager_s_is_a_warning(tmp_path: Path) -> None:
    around = replace(surroundings(tmp_path), answers=ManagerAnswers(URL, ahead_seconds=-90))
    assert found(check_clock, around) == [("warning", "The clock differs from the manager's by 90 s")]


def test_a_fleet_that_needs_more_files_than_it_may_open_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource")
    around = surroundings(tmp_path, *({"id": f"a{number}", "instances": 64} for number in range(20)))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (4096, 4096))
    assert found(check_open_files, around)[0][0] == "warning"
    monkeypatch.setattr(resource, "getrlimit", lambda _: (65536, 65536))
    assert found(check_open_files, around)[0][0] == "ok"


def test_without_a_manager_nothing_is_wrong(tmp_path: Path) -> None:
    assert found(check_manager, surroundings(tmp_path))[0][0] == "ok"


def test_a_manager_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    around = replace(surroundings(tmp_path), answers=ManagerAnswers(URL, trouble="is not well: it hangs."))
    assert found(check_manager, around) == [("error", f"The manager at {URL} is not well: it hangs.")]


def test_what_is_not_well_with_a_running_fleet_is_told(tmp_path: Path) -> None:
    answers = ManagerAnswers(
        URL,
        states={"one": ("running", None), "two": ("failed", "it crashed six times")},
        webhooks={"oncall": "It answered 401 Unauthorized."},
        pending=["managerUrl"],
    )
    assert found(check_manager, replace(surroundings(tmp_path), answers=answers)) == [
        ("ok", f"The manager at {URL} answers and is ready"),
        ("warning", "two is failed: it crashed six times"),
        ("warning", "oncall does not take notifications: It answered 401 Unauthorized."),
        ("warning", "Not in force until the manager is restarted: managerUrl"),
    ]


def test_nothing_is_changed_by_looking(tmp_path: Path) -> None:
    around = surroundings(tmp_path, {"id": "one"})
    before = sorted(tmp_path.rglob("*"))
    list(examine(around))
    assert sorted(tmp_path.rglob("*")) == before


def test_the_time_that_is_told_is_the_clock_s(tmp_path: Path) -> None:
    ((_, message),) = found(check_clock, surroundings(tmp_path))
    assert f"{START.astimezone(UTC):%Y-%m-%d %H:%M:%S}" in message
    assert START < datetime.now(UTC)
