"""The watch on a real file system: each way in which people and orchestrators replace a config file."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from manager.errors import ConfigError, ConfigIssue, NotReady
from manager.supervision.config_watch import watch
from manager.supervision.reloading import Reloader

DEADLINE_SECONDS = 30.0


class File:
    """Plays the reloader: reads the config as text. `taken` is what it holds; `tries` what was found, in order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.taken = ""
        self.tries: list[str | None] = []
        self.refusals = 0
        self._tried = asyncio.Event()

    async def apply(self, *, actor: str, quiet: bool) -> None:
        assert (actor, quiet) == ("watch", True)
        try:
            found = self.path.read_text()
        except OSError:
            found = None
        self.tries.append(found)
        self._tried.set()
        if self.refusals:
            self.refusals -= 1
            raise NotReady("Not now.")
        if found is None or "wrong" in found:
            raise ConfigError("f", [ConfigIssue("(file)", "wrong", "write it right")])
        self.taken = found

    async def holds(self, text: str) -> None:
        """Wait until `text` was taken over."""
        await self.until(lambda: self.taken == text)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition():
                self._tried.clear()
                await self._tried.wait()


def watched(path: Path, scenario: Callable[[File], Awaitable[None]]) -> File:
    """Run `scenario` beside a watch of `path` that has begun."""

    async def main() -> File:
        file = File(path)
        reloader: Reloader = file  # type: ignore[assignment]
        task = asyncio.create_task(watch(path, reloader))
        try:
            await file.until(lambda: bool(file.tries))
            await scenario(file)
        finally:
            assert not task.done(), task
            task.cancel()
            await asyncio.wait({task})
        return file

    return asyncio.run(main())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "config" / "agents.config.json"
    path.parent.mkdir()
    path.write_text("zero")
    return path


def test_a_file_written_in_place_is_read_again(path: Path) -> None:
    async def scenario(file: File) -> None:
        for text in ("one", "two"):
            path.write_text(text)
            await file.holds(text)

    assert watched(path, scenario).tries[0] == "zero", "what was changed before the watch began counts too"


def test_a_file_renamed_over_as_editors_do_is_read_again(path: Path) -> None:
    async def scenario(file: File) -> None:
        for text in ("one", "two"):
            draft = path.with_suffix(".swp")
            draft.write_text(text)
            draft.replace(path)
            await file.holds(text)

    watched(path, scenario)


def test_a_file_that_vanishes_and_comes_back_is_read_again(path: Path) -> None:
    async def scenario(file: File) -> None:
        path.unlink()
        await file.until(lambda: file.tries[-1] is None)
        assert file.taken == "zero"
        path.write_text("one")
        await file.holds("one")

    watched(path, scenario)


def test_a_file_written_in_many_steps_is_read_when_it_is_complete(path: Path) -> None:
    async def scenario(file: File) -> None:
        with path.open("w") as target:
            for part in ("wrong", " until", " the", " end"):
                target.write(part)
                target.flush()
                await asyncio.sleep(0.01)
            target.seek(0)
            target.write("one")
            target.truncate()
        await file.holds("one")

    assert watched(path, scenario).tries == ["zero", "one"]


def test_a_wrong_file_is_tried_once_and_the_next_one_is_taken(path: Path) -> None:
    async def scenario(file: File) -> None:
        path.write_text("wrong")
        await file.until(lambda: file.tries[-1] == "wrong")
        (path.parent / "other.json").write_text("a neighbour")
        path.write_text("one")
        await file.holds("one")

    assert watched(path, scenario).tries == ["zero", "wrong", "one"]


@pytest.mark.full
def test_a_refused_change_is_tried_again_by_itself(path: Path) -> None:
    async def scenario(file: File) -> None:
        file.refusals = 1
        path.write_text("one")
        await file.holds("one")

    assert watched(path, scenario).tries == ["zero", "one", "one"]


def test_a_directory_of_links_as_orchestrators_mount_it(tmp_path: Path) -> None:
    mount = tmp_path / "mount"

    def publish(version: str) -> None:
        # As Kubernetes does: the data's directory is new each time, and one link is swapped.
        (mount / f"..{version}").mkdir(parents=True)
        (mount / f"..{version}" / "agents.config.json").write_text(version)
        (mount / "..data_tmp").symlink_to(f"..{version}")
        (mount / "..data_tmp").replace(mount / "..data")
        for old in mount.glob("..v*"):
            if old.name != f"..{version}":
                shutil.rmtree(old)

    async def scenario(file: File) -> None:
        for version in ("v2", "v3"):
            publish(version)
            await file.holds(version)

    publish("v1")
    path = mount / "agents.config.json"
    path.symlink_to(os.path.join("..data", path.name))
    watched(path, scenario)


def test_a_link_to_a_file_elsewhere_that_is_written_there(tmp_path: Path, path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(path)

    async def scenario(file: File) -> None:
        path.write_text("one")
        await file.holds("one")

    watched(link, scenario)


def test_a_directory_further_up_that_is_replaced(tmp_path: Path, path: Path) -> None:
    async def scenario(file: File) -> None:
        path.parent.rename(tmp_path / "old")
        path.parent.mkdir()
        path.write_text("one")
        await file.holds("one")
        path.write_text("two")
        await file.holds("two")

    watched(path, scenario)


def test_a_directory_that_is_not_there_yet(tmp_path: Path) -> None:
    path = tmp_path / "later" / "agents.config.json"

    async def scenario(file: File) -> None:
        path.parent.mkdir()
        path.write_text("one")
        await file.holds("one")

    watched(path, scenario)
