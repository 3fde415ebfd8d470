"""Fork servers, their managers and the connections between them are lost: no agent is, and no exit."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from agent_service.proc import all_stats, has_variable
from manager.supervision.fork_spawner import ForkSpawner
from manager.supervision.free_port import free_port
from manager.supervision.process import Exit
from tests.fixtures.adapter import fake_manager
from tests.integration.fork_server import ready, server_pid, socket_of
from tests.integration.spawning import (
    ENVIRON,
    FOREVER,
    Workshop,
    ended,
    http,
    lives,
    make_spawner,
    registered,
    scenario,
    until,
)

pytestmark = pytest.mark.skipif(not ForkSpawner.available(), reason="no fork server here")


def test_when_the_server_is_killed_its_agents_go_on_their_ends_are_seen_and_starts_work(
    tmp_path: Path,
) -> None:
    port = free_port("127.0.0.1")

    async def run(shop: Workshop) -> None:
        with fake_manager() as manager:
            launch = shop.adapter(manager, public_port=port)
            orphan = await shop.start(launch)
            async with http(await registered(manager, launch)) as client:
                os.kill(server_pid(shop), signal.SIGKILL)
                # While the orphan holds the agent's port, a successor shares it: the manager kept a second descriptor.
                beside = shop.adapter(manager, public_port=port)
                successor = await shop.start(beside)
                await registered(manager, beside)
                assert (await client.get("/health")).status_code == 200
            assert not orphan.exited.done()
            orphan.kill()
            assert await ended(orphan) == Exit()
            async with http(f"http://127.0.0.1:{port}") as public:
                assert (await public.get("/info")).json()["instance_id"] == beside.instance_id
            successor.kill()
            assert await ended(successor) == Exit(signal=signal.SIGKILL)

    scenario("fork", tmp_path, run)


def test_an_orphans_grandchildren_end_with_it(tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        child = f"import subprocess, sys; print('child', subprocess.Popen([sys.executable, '-c', {FOREVER!r}], "
        orphan = await shop.run(child + f"start_new_session=True).pid, '.', flush=True); {FOREVER}")
        await shop.says("child ")
        os.kill(server_pid(shop), signal.SIGKILL)
        orphan.terminate()
        assert await ended(orphan) == Exit()
        assert not lives(int(shop.log.split("child ")[1].split()[0]))

    scenario("fork", tmp_path, run)


def test_the_next_manager_learns_how_instances_ended_in_between_and_of_those_that_nobody_wrote_down(
    tmp_path: Path,
) -> None:
    async def run(shop: Workshop) -> None:
        dying, staying = shop.launch(sys.executable, "-c", "raise SystemExit(9)"), shop.adapter()
        first = await shop.start(dying)
        process = await shop.start(staying)
        await ended(first)
        await shop.spawner.aclose(leave_running=True)
        shop.processes.clear()
        # It has not said that it dealt with the exit: the next one hears of it, and the one after next does not.
        shop.spawner = make_spawner("fork", tmp_path)
        assert await shop.spawner.collect() == {dying.instance_id: Exit(code=9)}
        assert shop.spawner.strays() == {staying.instance_id: ("agent", process.identity)}
        shop.spawner.forget(dying.instance_id)
        await shop.spawner.aclose(leave_running=True)
        process.kill()
        shop.spawner = make_spawner("fork", tmp_path)
        await until(lambda: not lives(process.identity.pid), "its end")
        await shop.spawner.collect()
        taken_back = shop.spawner.adopt(process.identity, staying.instance_id)
        assert await ended(taken_back) == Exit(signal=signal.SIGKILL)
        assert await shop.spawner.collect() == {}

    scenario("fork", tmp_path, run)


def test_the_next_manager_finds_those_that_nobody_wrote_down_when_their_server_has_died_too(tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        known, unknown = shop.launch(sys.executable, "-c", FOREVER), shop.adapter()
        first, second = await shop.start(known), await shop.start(unknown)
        await shop.says("Agent ready")
        os.kill(server_pid(shop), signal.SIGKILL)
        await shop.spawner.aclose(leave_running=True)
        shop.spawner = make_spawner("fork", tmp_path)
        await shop.spawner.collect()
        shop.processes = [shop.spawner.adopt(first.identity, known.instance_id)]
        assert shop.spawner.strays() == {unknown.instance_id: (None, second.identity)}
        stray = shop.spawner.adopt(second.identity, unknown.instance_id)
        stray.kill()
        await ended(stray)
        assert shop.spawner.strays() == {} and lives(first.identity.pid)

    scenario("fork", tmp_path, run)


def test_a_connection_that_breaks_is_made_again_and_no_exit_is_missed(tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        gone, kept = await shop.run(FOREVER), await shop.run(FOREVER)
        before = server_pid(shop)
        assert isinstance(shop.spawner, ForkSpawner)
        (server,) = [each for each in shop.spawner._servers.values() if each._client]
        assert server._client is not None
        # The peer hangs up, and an instance ends while nobody listens.
        os.kill(before, signal.SIGSTOP)
        gone.kill()
        server._client._channel._connection.shutdown(socket.SHUT_RDWR)
        os.kill(before, signal.SIGCONT)
        assert await ended(gone) == Exit(signal=signal.SIGKILL)
        kept.terminate()
        assert await ended(kept) == Exit(signal=signal.SIGTERM)
        assert await ended(await shop.run("raise SystemExit(4)")) == Exit(code=4)
        assert server_pid(shop) == before

    scenario("fork", tmp_path, run)


@pytest.mark.full
def test_a_server_that_dies_during_a_start_leaves_no_second_process_behind(tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        for _ in range(5):
            # The start before may have been done by the server that died, and then none is there.
            await ended(await shop.run("pass"))
            pid = server_pid(shop)
            os.kill(pid, signal.SIGSTOP)
            launch = shop.launch(sys.executable, "-c", FOREVER)
            start = asyncio.create_task(shop.start(launch))
            await asyncio.sleep(0)
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGKILL)
            process = await start
            marked = [s.pid for s in all_stats() if has_variable(s.pid, "AGENT_INSTANCE_ID", launch.instance_id)]
            assert marked == [process.identity.pid]

    scenario("fork", tmp_path, run)


@pytest.mark.full
def test_a_server_that_hangs_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manager.supervision.fork_server_client.ANSWER_SECONDS", 5.0)

    async def run(shop: Workshop) -> None:
        survivor = await shop.run(FOREVER)
        hung = server_pid(shop)
        os.kill(hung, signal.SIGSTOP)
        assert await ended(await shop.run("raise SystemExit(6)")) == Exit(code=6)
        assert not lives(hung)
        assert lives(survivor.identity.pid)

    scenario("fork", tmp_path, run)


def test_a_server_told_to_end_by_signal_leaves_its_agents_alone(tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        process = await shop.run(FOREVER)
        pid = server_pid(shop)
        os.kill(pid, signal.SIGTERM)
        await until(lambda: not lives(pid), "the server's end")
        assert lives(process.identity.pid)
        assert not socket_of(shop).exists()

    scenario("fork", tmp_path, run)


@pytest.mark.full
def test_the_next_manager_shares_a_port_whose_listener_only_the_old_server_has(tmp_path: Path) -> None:
    port = free_port("127.0.0.1")
    packages = tmp_path / "site-packages"
    packages.mkdir()
    environ = {**ENVIRON, "PYTHONPATH": f"{ENVIRON['PYTHONPATH']}:{packages}"}

    async def run(shop: Workshop) -> None:
        shop.spawner = make_spawner("fork", tmp_path, environ)
        first, process = await ready(shop, public_port=port)
        await shop.spawner.aclose(leave_running=True)
        # An upgrade: the server that is there is out of date, and its agent still serves.
        (packages / "upgraded.py").touch()
        shop.spawner = make_spawner("fork", tmp_path, environ)
        await shop.spawner.collect()
        shop.processes = [shop.spawner.adopt(process.identity, first.instance_id)]
        second, _ = await ready(shop, public_port=port)
        shop.processes[0].kill()
        assert await ended(shop.processes[0]) == Exit(signal=signal.SIGKILL)
        async with http(f"http://127.0.0.1:{port}") as public:
            assert (await public.get("/info")).json()["instance_id"] == second.instance_id

    scenario("fork", tmp_path, run)
