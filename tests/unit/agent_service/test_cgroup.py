from __future__ import annotations

from pathlib import Path

import pytest

from agent_service.cgroup import Cgroup, Cgroups, find_cgroups, instance_groups


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "self").mkdir()
    monkeypatch.setattr("agent_service.cgroup._PROC", tmp_path)
    return tmp_path / "self"


def mounted(point: Path, root: str = "/", kind: str = "cgroup2") -> str:
    return f"30 1 0:5 / /proc rw - proc proc rw\n41 31 0:38 {root} {point} rw,relatime shared:9 - {kind} none rw\n"


@pytest.mark.parametrize(
    ("root", "own", "place"),
    [("/", "/", "."), ("/", "/system.slice/agents.service", "system.slice/agents.service"), ("/a", "/a/b", "b")],
)
def test_instances_get_theirs_below_the_group_of_this_process(
    proc: Path, tmp_path: Path, root: str, own: str, place: str
) -> None:
    point = tmp_path / "cgroup"
    (point / place).mkdir(parents=True)
    (point / place / "cgroup.procs").touch()
    (proc / "mountinfo").write_text(mounted(point, root))
    (proc / "cgroup").write_text(f"8:pids:/elsewhere\n0::{own}\n")
    assert find_cgroups().make("a-1") is not None
    assert (point / place / "agent-manager.a-1").is_dir()


def test_without_the_second_version_or_without_leave_to_write_there_are_none(proc: Path, tmp_path: Path) -> None:
    assert find_cgroups().make("a-1") is None
    (proc / "cgroup").write_text("0::/mine\n")
    (proc / "mountinfo").write_text(mounted(tmp_path, kind="cgroup"))
    assert find_cgroups().make("a-1") is None
    # Its list of processes is not there, which is as good as one that may not be written.
    (proc / "mountinfo").write_text(mounted(tmp_path))
    (tmp_path / "mine").mkdir()
    assert find_cgroups().make("a-1") is None
    assert find_cgroups().of("a-1") is None
    assert not find_cgroups().can_be


def test_those_of_all_instances_are_found_wherever_they_were_made(proc: Path, tmp_path: Path) -> None:
    assert instance_groups() == {}
    (proc / "mountinfo").write_text(mounted(tmp_path / "cgroup"))
    here, there = tmp_path / "cgroup" / "agent-manager.a-1", tmp_path / "cgroup" / "user.slice" / "agent-manager.b-1"
    for path in (here, there, here / "agent-manager.within"):
        path.mkdir(parents=True)
    assert {each: group.path for each, group in instance_groups().items()} == {"a-1": here, "b-1": there}


def test_what_lives_in_a_group_lives_in_those_below_it_too(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "cgroup.procs").write_text("30\n4\n")
    (tmp_path / "below" / "cgroup.procs").write_text("7\n")
    assert Cgroup(tmp_path).processes() == [4, 7, 30]
    assert Cgroup(tmp_path / "missing").processes() == []


def test_a_group_is_entered_killed_and_empty_in_the_kernels_own_words(tmp_path: Path) -> None:
    group = Cgroups(tmp_path).make("a-1")
    assert group is not None
    directory = tmp_path / "agent-manager.a-1"
    (directory / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    assert not group.is_empty
    (directory / "cgroup.events").write_text("populated 0\nfrozen 0\n")
    assert group.is_empty
    group.enter()
    group.kill()
    assert (directory / "cgroup.procs").read_text() == "0"
    assert (directory / "cgroup.kill").read_text() == "1"


def test_a_group_that_nobody_could_make_is_no_obstacle(tmp_path: Path) -> None:
    assert Cgroups(tmp_path / "missing").make("a-1") is None
    group = Cgroups(tmp_path).of("a-1")
    assert group is not None
    group.enter()
    group.kill()
    group.remove()
    assert group.is_empty


def test_what_is_left_of_earlier_instances_is_taken_away_unless_something_lives_in_it(tmp_path: Path) -> None:
    cgroups = Cgroups(tmp_path)
    (tmp_path / "agent-manager.gone" / "below").mkdir(parents=True)
    (tmp_path / "agent-manager.busy" / "process").mkdir(parents=True)
    (tmp_path / "agent-manager.busy" / "process" / "file").touch()  # rmdir refuses, as the kernel does
    (tmp_path / "stranger").mkdir()
    cgroups.remove_empty()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agent-manager.busy", "stranger"]


def test_a_name_that_is_taken_is_used_again(tmp_path: Path) -> None:
    cgroups = Cgroups(tmp_path)
    assert cgroups.make("a-1") is not None
    assert cgroups.make("a-1") is not None
