from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agent_service.cgroup import Cgroup, Cgroups
from manager.diagnosis import cgroups
from manager.diagnosis.cgroups import check_cgroups
from manager.store.holder import Holder
from manager.supervision.identity import identify
from tests.unit.manager.diagnosis.set_up import broken, found, remember, surroundings
from tests.unit.manager.fakes.clock import START

NOTHING = [("ok", "No cgroup of an agent is left over")]
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes the group of an instance that holds this very process, unless it is to be empty; of this or that fleet."""
    groups: dict[str, Cgroup] = {}
    variables: dict[str, str] = {}
    monkeypatch.setattr(cgroups, "instance_groups", lambda: groups)
    monkeypatch.setattr(cgroups, "find_cgroups", lambda: Cgroups(tmp_path))
    monkeypatch.setattr(cgroups, "read_variables", lambda _: variables)

    def make(instance_id: str, *, empty: bool = False, fleet: Path | None = None, age: float = 3600) -> Path:
        path = tmp_path / "cgroup" / f"agent-manager.{instance_id}"
        path.mkdir(parents=True)
        (path / "cgroup.procs").write_text("" if empty else f"{os.getpid()}\n")
        os.utime(path, (START.timestamp() - age,) * 2)
        groups[instance_id] = Cgroup(path)
        if fleet is not None:
            variables["AGENT_FLEET"] = str(fleet)
        return path

    return make


def left(path: Path) -> tuple[str, str]:
    held = cgroups.process_text(os.getpid())
    return "warning", f"{path} is left over, and no manager looks after what lives in it: {held}"


def test_without_any_and_with_leave_to_make_them_all_is_well(make: Make, tmp_path: Path) -> None:
    assert found(check_cgroups, surroundings(tmp_path)) == NOTHING


def test_where_there_can_be_none_there_is_nothing_to_say(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found(check_cgroups, broken(surroundings(tmp_path))) == []
    monkeypatch.setattr(cgroups, "find_cgroups", lambda: Cgroups(None))
    assert found(check_cgroups, surroundings(tmp_path)) == []


def test_one_whose_processes_nobody_knows_is_named_with_what_it_holds_and_how_to_remove_it(
    make: Make, tmp_path: Path
) -> None:
    path = make("a b")
    around = surroundings(tmp_path)
    assert found(check_cgroups, around) == [left(path)]
    (finding,) = check_cgroups(around)
    assert finding.remedy == f"`echo 1 > '{path}'/cgroup.kill` ends that, then `rmdir '{path}'` removes it"


def test_a_running_manager_looks_after_its_own_and_after_no_others(make: Make, tmp_path: Path) -> None:
    path = make("a-1", fleet=tmp_path / ".state")
    around = surroundings(tmp_path)
    assert found(check_cgroups, around) == [left(path)]
    assert found(check_cgroups, replace(around, holder=Holder(1, None))) == NOTHING


def test_an_agent_that_the_next_manager_takes_back_is_none_of_them(make: Make, tmp_path: Path) -> None:
    make("a-1", fleet=tmp_path / ".state")
    (tmp_path / ".state").mkdir()
    remember(tmp_path / ".state", "a", pid=os.getpid(), created_at=identify(os.getpid()).created_at)
    assert found(check_cgroups, surroundings(tmp_path)) == NOTHING


def test_another_fleet_is_its_managers_business_as_long_as_it_has_a_state_directory(make: Make, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    path = make("a-1", fleet=other)
    assert found(check_cgroups, surroundings(tmp_path)) == NOTHING
    other.rmdir()
    assert found(check_cgroups, surroundings(tmp_path)) == [left(path)]


def test_empty_ones_are_counted_unless_they_are_young_or_gone_by_now(make: Make, tmp_path: Path) -> None:
    for number in range(7):
        make(f"a-{number}", empty=True)
    make("young", empty=True, age=30)
    shutil.rmtree(make("gone", empty=True))
    (finding,) = check_cgroups(surroundings(tmp_path))
    names = ", ".join(f"agent-manager.a-{number}" for number in range(5))
    assert finding.message == f"7 empty cgroups of agents left over in {tmp_path / 'cgroup'}: {names} and 2 more"
    assert finding.remedy is not None and finding.remedy.startswith(f"`rmdir {tmp_path / 'cgroup'}/agent-manager.*`")
