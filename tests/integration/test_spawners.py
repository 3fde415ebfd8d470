"""What every spawner does, whether it starts processes by exec or by fork server."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import sys
from pathlib import Path

import pytest

from manager.errors import SpawnFailed, StartImpossible
from manager.supervision.identity import identify
from manager.supervision.process import Exit, ProcessLimits
from tests.fixtures.adapter import fake_manager
from tests.integration.spawning import FOREVER, Workshop, ended, http, kinds, lives, make_spawner, registered, scenario

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes")

PROBE = """
import json, os, resource, sys
async def tell(parameters):
    return {
        "odd": os.fsencode(os.environ.pop("ODD")).hex(), "environment": dict(os.environ),
        "directory": os.getcwd(), "path": sys.path[0], "argv": sys.argv,
        "files": resource.getrlimit(resource.RLIMIT_NOFILE), "cpu": resource.getrlimit(resource.RLIMIT_CPU)[0],
        "session": os.getsid(0), "pid": os.getpid(),
    }
"""


@kinds
@pytest.mark.parametrize(("code", "exit_"), [("pass", Exit(code=0)), ("raise SystemExit(3)", Exit(code=3))])
def test_an_exit_status_is_told(kind: str, code: str, exit_: Exit, tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        process = await shop.run(code)
        assert await ended(process) == exit_
        process.terminate()
        process.kill()

    scenario(kind, tmp_path, run)


@kinds
def test_a_signal_is_told(kind: str, tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        asked, killed = await shop.run(FOREVER), await shop.run(FOREVER)
        assert asked.identity == identify(asked.identity.pid)
        asked.terminate()
        killed.kill()
        assert await ended(asked) == Exit(signal=signal.SIGTERM)
        assert await ended(killed) == Exit(signal=signal.SIGKILL)

    scenario(kind, tmp_path, run)


@kinds
@pytest.mark.parametrize("session", ["same", "new", "daemon"])
def test_grandchildren_have_ended_when_the_end_is_told(kind: str, session: str, tmp_path: Path) -> None:
    if sys.platform != "linux" and session != "same":
        pytest.skip("who left the group is found on Linux only")
    child = "import os, time; print('child', os.getpid(), flush=True); time.sleep(600)"
    code = f"""
import os, subprocess, sys, time
if {session!r} == "daemon" and os.fork():  # the one in between ends at once, and its child belongs to nobody
    os.wait()
else:
    subprocess.Popen([sys.executable, "-c", {child!r}], start_new_session={session != "same"})
    if {session!r} == "daemon": os._exit(0)
time.sleep(600)
"""

    async def run(shop: Workshop) -> None:
        process = await shop.run(code)
        await shop.says("child ")
        grandchild = int(shop.log.split("child ")[1].split()[0])
        assert lives(grandchild)
        process.kill()
        assert await ended(process) == Exit(signal=signal.SIGKILL)
        assert not lives(grandchild)

    scenario(kind, tmp_path, run)


@kinds
def test_what_is_left_behind_by_a_clean_exit_is_ended_too(kind: str, tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        code = f"import subprocess, sys; print('child', subprocess.Popen([sys.executable, '-c', {FOREVER!r}]).pid, '.')"
        assert await ended(await shop.run(code)) == Exit(code=0)
        assert not lives(int(shop.log.split()[1]))

    scenario(kind, tmp_path, run)


@kinds
def test_everything_that_is_written_lands_in_the_log_after_what_was_there(kind: str, tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        shop.log_file.parent.mkdir()
        shop.log_file.write_text("from before\n")
        code = "import os, sys; print('said', flush=True); os.write(2, b'from C\\n'); print(sys.stdin.read() == '')"
        assert await ended(await shop.run(code)) == Exit(code=0)
        assert shop.log == "from before\nsaid\nfrom C\nTrue\n"

    scenario(kind, tmp_path, run)


@kinds
def test_an_adapter_is_given_exactly_its_environment_its_directory_and_its_limits(kind: str, tmp_path: Path) -> None:
    (tmp_path / "probe.py").write_text(PROBE)

    async def run(shop: Workshop) -> None:
        with fake_manager() as manager:
            limits = ProcessLimits(cpu_seconds=1000, open_files=256)
            launch = shop.adapter(manager, "probe:tell", limits=limits)
            # Bytes that are not UTF-8 survive too.
            launch.environment["ODD"] = "caf\udce9 = \n"
            process = await shop.start(launch)
            async with http(await registered(manager, launch)) as client:
                told = (await client.post("/execute", json={"parameters": {}})).json()
                found = told["result"]
        assert bytes.fromhex(found["odd"]) == b"caf\xe9 = \n"
        assert found["environment"] == {key: value for key, value in launch.environment.items() if key != "ODD"}
        assert (found["directory"], found["path"]) == (str(tmp_path), str(tmp_path))
        assert [Path(found["argv"][0]).name, *found["argv"][1:]] == ["__main__.py"]
        assert (found["files"], found["cpu"]) == ([256, 256], 1000)
        assert found["session"] == found["pid"] == process.identity.pid

    scenario(kind, tmp_path, run)


@kinds
def test_an_adapter_ends_with_its_own_exit_status_and_its_log(kind: str, tmp_path: Path) -> None:
    (tmp_path / "leaver.py").write_text(
        "import atexit\natexit.register(print, 'last words', flush=True)\ndef f(p): ...\n"
    )

    async def run(shop: Workshop) -> None:
        assert await ended(await shop.start(shop.adapter(entry_point="no.such:thing"))) == Exit(code=78)
        assert "there is no module 'no'" in shop.log
        process = await shop.start(shop.adapter(entry_point="leaver:f"))
        await shop.says("Agent ready")
        process.terminate()
        assert await ended(process) == Exit(code=0)
        assert '"event": "Agent stopped"' in shop.log
        assert shop.log.endswith("last words\n")

    scenario(kind, tmp_path, run)


@kinds
def test_a_restart_runs_the_code_on_disk(kind: str, tmp_path: Path) -> None:
    module = tmp_path / "changing.py"

    async def run(shop: Workshop) -> None:
        for version in ("one", "another"):
            module.write_text(f"print('version', {version!r}, flush=True)\ndef f(p): ...\n")
            process = await shop.start(shop.adapter(entry_point="changing:f"))
            await shop.says(f"version {version}")
            process.kill()
            await ended(process)

    scenario(kind, tmp_path, run)


@kinds
def test_a_program_that_is_not_there_is_refused(kind: str, tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        (tmp_path / "plain").write_text("not a program")
        for program in ("no-such-program", "./no-such-program", "./plain"):
            with pytest.raises(StartImpossible, match=program) as refused:
                await shop.start(shop.launch(program))
            assert refused.value.agent_id == "agent"

    scenario(kind, tmp_path, run)


@kinds
def test_a_program_is_found_in_its_own_directory_and_on_its_own_path(kind: str, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "hello"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho hello $0\n")
    program.chmod(0o755)

    async def run(shop: Workshop) -> None:
        assert await ended(await shop.start(shop.launch("./bin/hello"))) == Exit(code=0)
        path = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
        assert await ended(await shop.start(shop.launch("hello", environment=path))) == Exit(code=0)
        assert shop.log.count("hello ") == 2

    scenario(kind, tmp_path, run)


@kinds
def test_a_start_without_its_directory_or_its_log_is_refused(kind: str, tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        with pytest.raises(SpawnFailed, match="nowhere") as refused:
            await shop.run("pass", directory=tmp_path / "nowhere")
        assert not isinstance(refused.value, StartImpossible), "what is not mounted yet may come"
        (tmp_path / "file").touch()
        with pytest.raises(SpawnFailed, match="log"):
            await shop.run("pass", log_file=tmp_path / "file" / "agent.log")

    scenario(kind, tmp_path, run)


@kinds
def test_a_user_that_is_not_there_is_refused(kind: str, tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        with pytest.raises(StartImpossible, match="There is no user 'nobody-of-that-name'"):
            await shop.run("pass", user="nobody-of-that-name")

    scenario(kind, tmp_path, run)


@kinds
def test_a_process_runs_as_the_user_that_was_asked_for(kind: str, tmp_path: Path) -> None:
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())

    async def run(shop: Workshop) -> None:
        process = await shop.start(shop.launch("id", user=user.pw_name, directory=Path("/")))
        assert await ended(process) == Exit(code=0), shop.log
        assert shop.log.startswith(f"uid={user.pw_uid}({user.pw_name}) gid={user.pw_gid}(")
        assert "root" not in shop.log or os.geteuid() != 0

    scenario(kind, tmp_path, run)


@pytest.mark.full
@kinds
def test_thirty_start_at_once(kind: str, tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        starts = [shop.run(f"print('number', {number}, flush=True)") for number in range(30)]
        processes = await asyncio.gather(*starts)
        assert len({process.identity.pid for process in processes}) == 30
        assert [await ended(process) for process in processes] == [Exit(code=0)] * 30
        lines = [line for line in shop.log.splitlines() if line.startswith("number")]
        assert sorted(lines) == sorted(f"number {number}" for number in range(30))

    scenario(kind, tmp_path, run)


@kinds
def test_a_process_is_taken_back_by_the_next_manager(kind: str, tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        launch = shop.adapter()
        first = await shop.start(launch)
        await shop.says("Agent ready")
        await shop.spawner.aclose(leave_running=True)
        shop.spawner = make_spawner(kind, tmp_path)
        assert await shop.spawner.collect() == {}
        second = shop.spawner.adopt(first.identity, launch.instance_id)
        shop.processes = [second]
        assert shop.spawner.strays() == {}
        assert not second.exited.done()
        second.terminate()
        # Only a fork server that both managers know can tell how it ended.
        assert await ended(second) == (Exit(code=0) if kind == "fork" else Exit())

    scenario(kind, tmp_path, run)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@kinds
def test_what_nobody_takes_back_is_known_by_its_fleet_and_that_of_another_fleet_is_a_stranger(
    kind: str, tmp_path: Path
) -> None:
    async def run(shop: Workshop) -> None:
        launch = shop.adapter()
        first = await shop.start(launch)
        await shop.says("Agent ready")
        await shop.spawner.aclose(leave_running=True)
        other = make_spawner(kind, tmp_path / "other")
        assert await other.collect() == {} and other.strays() == {}
        await other.aclose(leave_running=True)
        shop.spawner = make_spawner(kind, tmp_path)
        await shop.spawner.collect()
        # Of a fork server's child its server tells more.
        assert shop.spawner.strays() == {launch.instance_id: ("agent" if kind == "fork" else None, first.identity)}
        stray = shop.spawner.adopt(first.identity, launch.instance_id)
        shop.processes = [stray]
        stray.kill()
        await ended(stray)
        assert not lives(first.identity.pid)

    scenario(kind, tmp_path, run)
