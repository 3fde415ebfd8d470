"""How a fork server starts, whom it serves, and when it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent_service.forkserver.channel import ChannelClosed
from agent_service.forkserver.profiles import EXIT_ALREADY_RUNNING
from agent_service.proc import all_stats
from manager.supervision.fork_server_start import start_fork_server
from manager.supervision.fork_spawner import ForkSpawner
from manager.supervision.free_port import free_port
from manager.supervision.process import Exit
from tests.fixtures.adapter import fake_manager
from tests.integration.fork_server import Raw, server_pid, socket_of
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


def test_thirty_adapters_started_at_once_share_one_server(tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        with fake_manager() as manager:
            launches = [shop.adapter(manager) for _ in range(30)]
            await asyncio.gather(*map(shop.start, launches))
            await asyncio.gather(*(registered(manager, launch) for launch in launches))
        server = server_pid(shop)
        children = [stat.pid for stat in all_stats() if stat.parent == server]
        assert sorted(children) == sorted(process.identity.pid for process in shop.processes)
        assert (tmp_path / "logs" / "fork-server.light.log").read_text().count("Fork server ready") == 1

    scenario("fork", tmp_path, run)


def test_a_server_that_cannot_start_leaves_the_starts_to_exec_and_says_so_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "forkserver").touch()

    async def run(shop: Workshop) -> None:
        for _ in range(2):
            assert await ended(await shop.run("raise SystemExit(5)")) == Exit(code=5)

    scenario("fork", tmp_path, run)
    assert capsys.readouterr().out.count("Fork server is not available") == 1
    assert "forkserver" in (tmp_path / "logs" / "fork-server.light.log").read_text()


def test_a_path_longer_than_a_socket_address_will_do(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)

    async def run(shop: Workshop) -> None:
        assert await ended(await shop.run("raise SystemExit(7)")) == Exit(code=7)
        assert lives(server_pid(shop))
        assert socket_of(shop).is_socket()
        assert (socket_of(shop).parent.stat().st_mode & 0o777) == 0o700

    scenario("fork", deep, run)


def test_a_second_server_at_one_path_is_refused(tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        await ended(await shop.run("pass"))
        before = server_pid(shop)
        arguments = ["-m", "agent_service.forkserver", "--profile", "light", "--socket", str(socket_of(shop))]
        second = await asyncio.to_thread(
            subprocess.run, [sys.executable, *arguments], env=ENVIRON, capture_output=True, text=True
        )
        assert second.returncode == EXIT_ALREADY_RUNNING
        assert f"Another fork server serves {socket_of(shop)}" in second.stderr
        assert server_pid(shop) == before

    scenario("fork", tmp_path, run)


def test_a_socket_file_that_a_dead_server_left_is_no_obstacle(tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        await ended(await shop.run("pass"))
        before = server_pid(shop)
        os.kill(before, signal.SIGKILL)
        await until(lambda: not lives(before), "the server's end")
        assert socket_of(shop).is_socket()
        assert await ended(await shop.run("pass")) == Exit(code=0)

    scenario("fork", tmp_path, run)


def test_rubbish_is_answered_with_a_sentence_or_hung_up_on_and_harms_nobody(tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        process = await shop.run(FOREVER)
        peer_ = Raw(socket_of(shop))
        for line, number in ((b"no json", None), (b"[]", None), (b'{"id": 5}', 5), (b'{"op": "dance", "id": 6}', 6)):
            answer = await peer_.say(line)
            assert answer["id"] == number
            assert "not understood" in answer["error"]["detail"]
        nul = json.dumps({**json.loads(_spawn_line(shop)), "argv": ["a\0b"]}).encode()
        assert "NUL" in (await peer_.say(nul))["error"]["detail"]
        twice = json.loads(_spawn_line(shop)) | {"instance_id": shop.processes[0]._instance_id}  # type: ignore[attr-defined]
        assert "runs already" in (await peer_.say(json.dumps(twice).encode()))["error"]["detail"]
        assert await peer_.say(b'{"op": "ping", "id": 8}') == {"id": 8, "error": None}
        # A line without an end, more descriptors than lines for them, one that is no listener: all hung up on.
        endless, greedy, odd = (Raw(socket_of(shop)) for _ in range(3))
        with pytest.raises(ChannelClosed):
            while True:
                endless.channel.send(b"x" * 1_000_000 + b" " * 9_000_000)
                await asyncio.sleep(0.01)
        with pytest.raises(ChannelClosed):
            for _ in range(1000):
                greedy.channel.send(b" ", 0)
                await asyncio.sleep(0.001)
        odd.channel.send(json.dumps({**json.loads(_spawn_line(shop)), "has_listener": True}).encode(), 0)
        await odd.until_closed()
        for each in (endless, greedy):
            each.channel.close()
        assert lives(process.identity.pid)
        assert await peer_.say(b'{"op": "ping", "id": 9}') == {"id": 9, "error": None}
        peer_.channel.close()

    scenario("fork", tmp_path, run)


def _spawn_line(shop: Workshop) -> bytes:
    fields = {"op": "spawn", "id": 7, "agent_id": "a", "instance_id": "i", "argv": [sys.executable], "environment": {}}
    return json.dumps({**fields, "directory": str(shop.directory), "log_file": str(shop.log_file)}).encode()


def test_no_token_of_the_manager_is_in_the_servers_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRON, "MANAGER_TOKEN_PREVIOUS", "s3cret")

    async def run(shop: Workshop) -> None:
        await ended(await shop.run("pass"))
        assert b"s3cret" not in Path(f"/proc/{server_pid(shop)}/environ").read_bytes()

    scenario("fork", tmp_path, run)


def test_a_server_whose_imports_changed_on_disk_is_replaced_and_ends_with_its_last_instance(
    tmp_path: Path,
) -> None:
    packages = tmp_path / "site-packages"
    packages.mkdir()

    async def run(shop: Workshop) -> None:
        shop.spawner = make_spawner("fork", tmp_path, {**ENVIRON, "PYTHONPATH": f"{ENVIRON['PYTHONPATH']}:{packages}"})
        first = await shop.run(FOREVER)
        old = server_pid(shop)
        (packages / "new.py").touch()
        second = await shop.run(FOREVER)
        new = server_pid(shop)
        assert old != new and lives(old)
        first.terminate()
        assert await ended(first) == Exit(signal=signal.SIGTERM)
        await until(lambda: not lives(old), "the end of the old server")
        second.terminate()
        assert await ended(second) == Exit(signal=signal.SIGTERM)

    scenario("fork", tmp_path, run)


def test_without_leave_running_the_server_ends_and_takes_its_socket_along(tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        await ended(await shop.run("pass"))
        pid = server_pid(shop)
        await shop.spawner.aclose(leave_running=False)
        await until(lambda: not lives(pid), "the server's end")
        assert not socket_of(shop).exists()

    scenario("fork", tmp_path, run)


def test_a_start_of_a_server_at_a_path_that_is_served_is_no_error(tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        await ended(await shop.run("pass"))
        before = server_pid(shop)
        await start_fork_server("light", socket_of(shop), tmp_path / "second.log", ENVIRON, "fleet")
        assert server_pid(shop) == before

    scenario("fork", tmp_path, run)


def test_several_instances_started_at_once_share_one_port(tmp_path: Path) -> None:
    port = free_port("127.0.0.1")

    async def run(shop: Workshop) -> None:
        launches = [shop.adapter(public_port=port) for _ in range(4)]
        await asyncio.gather(*map(shop.start, launches))
        await shop.says("Agent ready", 4)
        served = set()
        while len(served) < 4:
            async with http(f"http://127.0.0.1:{port}") as public:
                served.add((await public.get("/info")).json()["instance_id"])
        assert served == {launch.instance_id for launch in launches}

    scenario("fork", tmp_path, run)


@pytest.mark.full
def test_a_server_without_work_and_without_a_manager_ends(tmp_path: Path) -> None:
    path = tmp_path / "s" / "light.sock"
    code = (
        "import sys, agent_service.forkserver.server as server\n"
        "server.ForkServer.__init__.__kwdefaults__['idle_seconds'] = 0.5\n"
        f"sys.argv = ['forkserver', '--profile', 'light', '--socket', {str(path)!r}]\n"
        "from agent_service.forkserver.__main__ import main\n"
        "main()"
    )
    subprocess.run([sys.executable, "-c", code], env=ENVIRON, check=True, stdout=subprocess.DEVNULL)

    async def run() -> None:
        peer_ = Raw(path)
        assert await peer_.say(b'{"op": "ping", "id": 1}') == {"id": 1, "error": None}
        await asyncio.sleep(1.0)  # longer than it would idle
        assert await peer_.say(b'{"op": "ping", "id": 2}') == {"id": 2, "error": None}
        peer_.channel.close()
        await until(lambda: not path.exists(), "the server's end")

    asyncio.run(asyncio.wait_for(run(), 40))


@pytest.mark.full
def test_the_servers_that_are_there_are_told_with_what_they_carry(tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        assert isinstance(shop.spawner, ForkSpawner)
        assert shop.spawner.servers() == []
        await shop.run(FOREVER)
        second = await shop.run(FOREVER)
        (server,) = shop.spawner.servers()
        assert (server.pid, server.instances, server.retiring) == (server_pid(shop), 2, False)
        second.kill()
        await ended(second)
        assert [each.instances for each in shop.spawner.servers()] == [1]

    scenario("fork", tmp_path, run)
