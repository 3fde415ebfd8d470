from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from manager.supervision import resources
from manager.supervision.resources import ResourceSampler, Usage
from tests.unit.manager.fakes.clock import run


class FakePsutil:
    """Processes by pid with their CPU and memory; one that is not there is gone."""

    Error = psutil.Error
    AccessDenied = psutil.AccessDenied
    open_fds: int | None = 7

    def __init__(self, **usage: tuple[float, int]) -> None:
        self.usage = {int(pid[1:]): values for pid, values in usage.items()}

    def Process(self, pid: int) -> Any:
        self._check(pid)
        return SimpleNamespace(
            oneshot=nullcontext,
            cpu_percent=lambda: self._check(pid)[0],
            cpu_times=lambda: SimpleNamespace(user=1.5, system=0.25),
            memory_info=lambda: SimpleNamespace(rss=self._check(pid)[1]),
            num_fds=lambda: self._files(pid),
        )

    def _files(self, pid: int) -> int:
        if self.open_fds is None:
            raise psutil.AccessDenied(pid)
        return self.open_fds

    def _check(self, pid: int) -> tuple[float, int]:
        if pid not in self.usage:
            raise psutil.NoSuchProcess(pid)
        return self.usage[pid]


@pytest.fixture
def sampling(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Samples in this thread and in virtual time."""

    async def here(work: Callable[..., Any], *args: Any) -> Any:
        return work(*args)

    def sample(fake: FakePsutil, pids: list[int], scenario: Callable[[ResourceSampler], Any]) -> None:
        monkeypatch.setattr(asyncio, "to_thread", here)
        monkeypatch.setattr(resources, "psutil", fake)

        async def main() -> None:
            sampler = ResourceSampler(lambda: pids)
            task = asyncio.create_task(sampler.run(lambda: None))
            try:
                await scenario(sampler)
            finally:
                task.cancel()
                await asyncio.wait({task})

        run(main())

    return sample


def test_there_is_no_sample_before_the_first() -> None:
    assert ResourceSampler(lambda: [1]).usage(1) is None


def test_the_newest_sample_is_kept_and_renewed(sampling: Callable[..., None]) -> None:
    fake = FakePsutil(p7=(12.5, 1024))

    async def scenario(sampler: ResourceSampler) -> None:
        await asyncio.sleep(1)
        assert sampler.usage(7) == Usage(12.5, 1024, cpu_seconds=1.75, open_fds=7)
        fake.usage[7] = (50.0, 2048)
        await asyncio.sleep(5)
        assert sampler.usage(7) == Usage(50.0, 2048, cpu_seconds=1.75, open_fds=7)

    sampling(fake, [7], scenario)


def test_a_process_that_is_gone_costs_its_own_sample_only(sampling: Callable[..., None]) -> None:
    fake = FakePsutil(p7=(1.0, 1), p8=(2.0, 2))

    async def scenario(sampler: ResourceSampler) -> None:
        await asyncio.sleep(1)
        del fake.usage[7]
        await asyncio.sleep(5)
        assert sampler.usage(7) is None
        assert sampler.usage(8) == Usage(2.0, 2, cpu_seconds=1.75, open_fds=7)

    sampling(fake, [7, 8], scenario)


def test_only_the_pids_of_the_moment_are_sampled(sampling: Callable[..., None]) -> None:
    fake = FakePsutil(p7=(1.0, 1), p8=(2.0, 2))
    pids = [7, 8]

    async def scenario(sampler: ResourceSampler) -> None:
        await asyncio.sleep(1)
        pids.remove(7)
        await asyncio.sleep(5)
        assert sampler.usage(7) is None
        assert sampler.usage(8) is not None

    sampling(fake, pids, scenario)


def test_files_that_may_not_be_counted_leave_the_rest_of_the_sample(sampling: Callable[..., None]) -> None:
    fake = FakePsutil(p7=(1.0, 1))
    fake.open_fds = None

    async def scenario(sampler: ResourceSampler) -> None:
        await asyncio.sleep(1)
        assert sampler.usage(7) == Usage(1.0, 1, cpu_seconds=1.75, open_fds=None)

    sampling(fake, [7], scenario)
