"""What a process that a fork server started has, and what of it is found and ended with it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from agent_service.cgroup import find_cgroups
from agent_service.proc import has_variable
from manager.supervision.fork_spawner import ForkSpawner
from manager.supervision.free_port import free_port
from manager.supervision.process import Exit
from tests.fixtures.adapter import fake_manager
from tests.integration.fork_server import ready, server_pid
from tests.integration.spawning import ENVIRON, FOREVER, Workshop, ended, http, lives, registered, scenario, until

CGROUPS = find_cgroups()

pytestmark = pytest.mark.skipif(not ForkSpawner.available(), reason="no fork server here")


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


@pytest.mark.skipif(not CGROUPS.can_be, reason="this system delegates no cgroup to us")
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
        assert not any(group.path.exists() for group in groups if group is not None)

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
