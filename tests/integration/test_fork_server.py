"""What only a fork server does: it outlives managers, its agents outlive it, and its children are clean."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent_service.cgroup import find_cgroups
from agent_service.forkserver.address import connect
from agent_service.forkserver.channel import Channel, ChannelClosed
from agent_service.forkserver.profiles import EXIT_ALREADY_RUNNING
from agent_service.proc import all_stats, has_variable
from manager.supervision.fork_server_start import start_fork_server
from manager.supervision.fork_spawner import ForkSpawner
from manager.supervision.free_port import free_port
from manager.supervision.process import Exit, Launch
from tests.fixtures.adapter import fake_manager
from tests.integration.spawning import (
    ENVIRON,
    FOREVER,
    Workshop,
    ended,
    http,
    lives,
    make_spawner,
    pid_at,
    registered,
    scenario,
    until,
)

CGROUPS = find_cgroups()

pytestmark = pytest.mark.skipif(not ForkSpawner.available(), reason="no fork server here")


def socket_of(shop: Workshop, profile: str = "light") -> Path:
    return shop.directory / "state" / "forkserver" / f"{profile}.sock"


def server_pid(shop: Workshop, profile: str = "light") -> int:
    return pid_at(socket_of(shop, profile))


class Raw:
    """A peer that says what it likes."""

    def __init__(self, path: Path) -> None:
        self._connection = connect(path)
        self.channel = Channel(self._connection)
        self._lines: list[bytes] = []

    async def line(self) -> dict[str, Any]:
        while not self._lines:
            await self._readable()
            self._lines += self.channel.receive()
        found: dict[str, Any] = json.loads(self._lines.pop(0))
        return found

    async def say(self, line: bytes) -> dict[str, Any]:
        self.channel.send(line)
        return await self.line()

    async def until_closed(self) -> None:
        while True:
            await self._readable()
            try:
                self.channel.receive()
            except ChannelClosed:
                self.channel.close()
                return

    async def _readable(self) -> None:
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self.channel.fileno(), event.set)
        try:
            await event.wait()
        finally:
            loop.remove_reader(self.channel.fileno())


async def ready(shop: Workshop, **changes: Any) -> tuple[Launch, Any]:
    """An adapter that serves."""
    launch = shop.adapter(**changes)
    before = shop.log.count("Agent ready")
    process = await shop.start(launch)
    await shop.says("Agent ready", before + 1)
    return launch, process


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


def test_a_child_inherits_nothing_but_its_three_streams_and_its_listener(tmp_path: Path) -> None:
    (tmp_path / "probe.py").write_text(
        "import os\n"
        "names = [int(name) for name in os.listdir('/proc/self/fd')]\n"
        "paths = {name: f'/proc/self/fd/{name}' for name in names}\n"
        "links = {name: os.readlink(path) for name, path in paths.items() if os.path.exists(path)}\n"
        "masks = [line.split()[1] for line in open('/proc/self/status') if line.startswith(('SigBlk', 'SigIgn'))]\n"
        "print('descriptors', links, 'masks', masks, flush=True)\n"
        "def f(p): ...\n"
    )

    async def run(shop: Workshop) -> None:
        await ready(shop)
        port = free_port("127.0.0.1")
        await ready(shop, entry_point="probe:f", public_port=port, agent_id="probe")
        line = next(line for line in shop.log.splitlines() if line.startswith("descriptors"))
        links = eval(line.split("descriptors")[1].split("masks")[0])
        assert {links.pop(0), links.pop(1), links.pop(2)} == {"/dev/null", str(shop.log_file)}
        # Its own listener and the public one; nothing of the server's, no other agent's.
        assert len(links) == 2 and all(link.startswith("socket:") for link in links.values()), links
        # Nothing blocked; ignored as by any interpreter: SIGPIPE and SIGXFSZ.
        ignored = 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)
        assert eval(line.split("masks")[1]) == ["0" * 16, f"{ignored:016x}"]

    scenario("fork", tmp_path, run)


def test_a_program_gets_default_signals_and_no_descriptor(tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        await ready(shop)
        script = "grep -E 'Sig(Blk|Ign)' /proc/self/status; ls -l /proc/self/fd | grep -c ' -> '"
        assert await ended(await shop.start(shop.launch("sh", "-c", script, log_file=tmp_path / "sh.log"))) == Exit(
            code=0
        )
        lines = (tmp_path / "sh.log").read_text().split()
        assert lines[:4] == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16]
        assert int(lines[4]) == 4  # three streams, and the directory that ls reads

    scenario("fork", tmp_path, run)


def test_two_forks_differ_in_everything_random(tmp_path: Path) -> None:
    (tmp_path / "dice.py").write_text(
        "import random, secrets, uuid, multiprocessing, tempfile, json\n"
        "print('DICE', json.dumps([random.random(), secrets.token_hex(), uuid.uuid4().hex, uuid.uuid1().hex, "
        "multiprocessing.current_process().authkey.hex(), tempfile.mktemp()]), flush=True)\n"
        "def f(p): ...\n"
    )

    async def run(shop: Workshop) -> None:
        for _ in range(2):
            await ready(shop, entry_point="dice:f")
        one, other = (json.loads(line[5:]) for line in shop.log.splitlines() if line.startswith("DICE "))
        assert all(left != right for left, right in zip(one, other, strict=True)), (one, other)

    scenario("fork", tmp_path, run)


def test_a_process_is_titled_and_marked_and_the_server_has_one_thread(tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        launch, process = await ready(shop, agent_id="planner")
        pid = process.identity.pid
        assert Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0") == b"agent: planner"
        assert has_variable(pid, "AGENT_INSTANCE_ID", launch.instance_id)
        server = server_pid(shop)
        assert Path(f"/proc/{server}/cmdline").read_bytes().startswith(b"agent-manager fork server: light")
        assert os.listdir(f"/proc/{server}/task") == [str(server)]
        assert not has_variable(server, "AGENT_INSTANCE_ID", launch.instance_id)

    scenario("fork", tmp_path, run)


def test_no_token_of_the_manager_is_in_the_servers_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRON, "MANAGER_TOKEN_PREVIOUS", "s3cret")

    async def run(shop: Workshop) -> None:
        await ended(await shop.run("pass"))
        assert b"s3cret" not in Path(f"/proc/{server_pid(shop)}/environ").read_bytes()

    scenario("fork", tmp_path, run)


def test_an_agent_with_settings_of_its_own_for_python_gets_an_interpreter_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "elsewhere.py").write_text("import sys\nprint('utf8', sys.flags.utf8_mode)\ndef f(p): ...\n")

    async def run(shop: Workshop) -> None:
        launch = shop.adapter(entry_point="elsewhere:f")
        launch.environment.update(PYTHONUTF8="1", PYTHONPATH=f"{ENVIRON['PYTHONPATH']}:{tmp_path / 'lib'}")
        await shop.start(launch)
        await shop.says("utf8 1")
        await shop.says("Agent ready")

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


def test_a_server_told_to_end_by_signal_leaves_its_agents_alone(tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        process = await shop.run(FOREVER)
        pid = server_pid(shop)
        os.kill(pid, signal.SIGTERM)
        await until(lambda: not lives(pid), "the server's end")
        assert lives(process.identity.pid)
        assert not socket_of(shop).exists()

    scenario("fork", tmp_path, run)


def test_what_an_agent_forks_away_from_its_session_is_found_too(tmp_path: Path) -> None:
    (tmp_path / "runaway.py").write_text(
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork():\n"
        "        os._exit(0)\n"
        "    print('runaway', os.getpid(), '.', flush=True)\n"
        "    time.sleep(600)\n"
        "def f(p): ...\n"
    )

    async def run(shop: Workshop) -> None:
        bystander = await shop.run(FOREVER, agent_id="bystander")
        _, process = await ready(shop, entry_point="runaway:f")
        # Nothing orders it before the agent's own readiness.
        await shop.says(" .\n")
        runaway = int(shop.log.split("runaway ")[1].split()[0])
        assert lives(runaway)
        process.kill()
        assert await ended(process) == Exit(signal=signal.SIGKILL)
        assert not lives(runaway)
        assert lives(bystander.identity.pid)

    scenario("fork", tmp_path, run)


@pytest.mark.skipif(CGROUPS.of("any") is None, reason="this system delegates no cgroup to us")
def test_what_leaves_session_group_and_environment_is_found_by_its_cgroup(tmp_path: Path) -> None:
    away = f"import os; os.setsid(); print('away', os.getpid(), '.', flush=True); {FOREVER}"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {away!r}], env={{}}); {FOREVER}"

    async def run(shop: Workshop) -> None:
        bystander = await shop.run(FOREVER, agent_id="bystander")
        for server_dies in (False, True):
            process = await shop.run(code)
            count = 2 if server_dies else 1
            await until(lambda count=count: shop.log.count(" .\n") == count, "it is away")  # type: ignore[misc]
            away_pid = int(shop.log.split("away ")[-1].split()[0])
            assert not has_variable(away_pid, "AGENT_INSTANCE_ID", shop.processes[-1]._instance_id)  # type: ignore[attr-defined]
            if server_dies:
                os.kill(server_pid(shop), signal.SIGKILL)
            process.kill()
            await ended(process)
            # The kernel takes a process that ends out of its cgroup a moment before it is a zombie.
            await until(lambda pid=away_pid: not lives(pid), "the end of what left")  # type: ignore[misc]
        assert lives(bystander.identity.pid)
        bystander.kill()
        await ended(bystander)
        groups = [CGROUPS.of(each._instance_id) for each in shop.processes]  # type: ignore[attr-defined]
        assert not any(group._path.exists() for group in groups if group is not None)

    scenario("fork", tmp_path, run)


def test_langgraph_agents_are_forked_from_a_server_that_has_imported_it(tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        with fake_manager() as manager:
            launch = shop.adapter(manager, "agent_service.examples.planner:graph", preload="langgraph")
            await shop.start(launch)
            async with http(await registered(manager, launch)) as client:
                answer = await client.post("/execute", json={"parameters": {"goal": "write a letter"}})
                assert answer.status_code == 200, answer.text
        assert os.listdir(f"/proc/{server_pid(shop, 'langgraph')}/task") == [str(server_pid(shop, "langgraph"))]
        # What a rehearsal does wrong costs speed only, so that nobody would see it.
        assert "Rehearsal failed" not in (tmp_path / "logs" / "fork-server.langgraph.log").read_text()

    scenario("fork", tmp_path, run)


def test_a_start_of_a_server_at_a_path_that_is_served_is_no_error(tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        await ended(await shop.run("pass"))
        before = server_pid(shop)
        await start_fork_server("light", socket_of(shop), tmp_path / "second.log", ENVIRON, "fleet")
        assert server_pid(shop) == before

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
