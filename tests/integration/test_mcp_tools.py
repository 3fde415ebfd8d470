"""Tools of real MCP servers: our own one over stdio, which can misbehave, and the SDK's over HTTP and SSE."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest
from structlog.testing import capture_logs

from agent_service.contract import ToolServerState
from agent_service.definition import McpServer
from agent_service.proc import read_stat
from agent_service.runtimes.tools.errors import ToolServerUnavailable
from agent_service.runtimes.tools.results import MAX_TEXT_CHARACTERS
from agent_service.runtimes.tools.timing import Timing
from agent_service.runtimes.tools.toolbox import Toolbox
from tests.fixtures.adapter import FakeManager
from tests.integration import spawning
from tests.integration.mcp_tools import ROOT, call, health, names, opened, run, stdio, text, until, web_server
from tests.integration.spawning import Workshop

QUICK = Timing(ping_interval=0.2, ping=20, first_backoff=0.05, longest_backoff=0.2, stable=0.0, stdin_grace=0.2)
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills with the parent what left its group")


def lives(pid: int) -> bool:
    stat = read_stat(pid)
    return stat is not None and stat.is_alive


def ended(pids: list[int]) -> None:
    assert len(pids) == 3

    async def scenario() -> None:
        await until(lambda: not any(lives(pid) for pid in pids), f"the end of {pids}")

    run(scenario)


def test_one_process_serves_every_call_and_any_argument_name_is_the_tools_own() -> None:
    async def scenario() -> None:
        async with opened(stdio()) as toolbox:
            pids = await asyncio.gather(*(text(toolbox, "pid") for _ in range(20)))
            assert len(set(pids)) == 1
            answer = await text(toolbox, "arguments", config=1, runtime=2, self=3, run_manager=4, callbacks=5)
            assert answer == str([("callbacks", 5), ("config", 1), ("run_manager", 4), ("runtime", 2), ("self", 3)])
            picture = await call(toolbox, "picture")
            assert picture.content == [
                {"type": "text", "text": "see"},
                {"type": "image", "base64": "AAAA", "mime_type": "image/png"},
            ]
        assert not lives(int(pids[0]))

    run(scenario)


def test_calls_run_at_once() -> None:
    async def scenario() -> None:
        async with opened(stdio()) as toolbox:
            began = asyncio.get_running_loop().time()
            await asyncio.gather(*(text(toolbox, "sleep", seconds=1) for _ in range(20)))
            assert asyncio.get_running_loop().time() - began < 10

    run(scenario)


def test_nine_hundred_tools_on_many_pages_and_a_list_without_end() -> None:
    async def scenario() -> None:
        many = stdio("many", {"tools": 900, "page": 7}, allowed_tools=[f"many_{n}" for n in range(900)])
        async with opened(many, stdio("circle", {"circle": True}, allowed_tools=["echo"])) as toolbox:
            assert len(toolbox.tools()) == 901
            assert await text(toolbox, "many_899") == "many_899"
            assert "turns in a circle" in health(toolbox, "circle").warnings[0]

    run(scenario)


def test_a_server_that_lies_costs_only_the_tools_that_lie() -> None:
    async def scenario() -> None:
        async with opened(stdio(options={"lies": True})) as toolbox:
            assert not {"no_schema", "bad_schema", "lost_reference", "a_list"} & names(toolbox)
            left_out = [line for line in health(toolbox, "local").warnings if "left out" in line]
            assert len(left_out) == 6, left_out
            for name, why in {
                "lie": "$.n: 'seven' is not of type 'integer'",
                "promise": "no structured content",
                "nonsense": "not what MCP prescribes",
            }.items():
                answer = await call(toolbox, name)
                assert answer.status == "error" and why in str(answer.content)
            failed = await call(toolbox, "fail")
            assert (failed.status, failed.content) == ("error", "the disk is full")
            honest = await call(toolbox, "honest")
            assert (honest.content, honest.artifact) == ("n is 7", {"structured_content": {"n": 7}})

    run(scenario)


def test_garbage_on_stdout_chatter_and_huge_answers_are_harmless_and_stderr_is_in_the_log() -> None:
    async def scenario() -> None:
        with capture_logs() as logs:
            async with opened(stdio()) as toolbox:
                assert await text(toolbox, "garbage") == "clean"
                assert await text(toolbox, "chatter") == "chattered"
                huge = await text(toolbox, "huge", characters=1_000_000)
                assert huge.endswith(f"[{1_000_000 - MAX_TEXT_CHARACTERS} more characters are left out]")
                answer = await call(toolbox, "huge", characters=17_000_000)
                assert answer.status == "error" and "over the limit" in str(answer.content)
                assert await text(toolbox, "mutter", text="low on fuel") == "muttered"
                assert health(toolbox, "local").reconnects == 0
        said = [line for line in logs if line["event"] == "MCP server says"]
        assert [(line["server"], line["line"]) for line in said] == [("local", "low on fuel")]
        warnings = [line for line in logs if line["log_level"] == "warning" and "stdout" in line["event"]]
        assert len(warnings) == 1

    run(scenario)


def test_a_server_killed_in_a_call_fails_that_call_and_comes_back() -> None:
    async def scenario() -> None:
        async with opened(stdio(), timing=QUICK) as toolbox:
            first = await text(toolbox, "pid")
            asleep = asyncio.create_task(call(toolbox, "sleep", seconds=60))
            await until(lambda: health(toolbox, "local").state is ToolServerState.READY, "ready")
            died = await call(toolbox, "die")
            assert died.status == "error" and "its process ended with status 7" in str(died.content)
            assert (await asleep).status == "error"
            assert await text(toolbox, "pid") != first
            assert health(toolbox, "local").reconnects == 1

    run(scenario)


def test_only_a_call_that_does_no_harm_twice_is_made_twice(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(stdio(), timing=QUICK) as toolbox:
            assert await text(toolbox, "die_once", marker=str(tmp_path / "died")) == "alive"
            died = await call(toolbox, "die")
            assert died.status == "error"
            assert await text(toolbox, "echo", text="and on") == "and on"
            assert health(toolbox, "local").reconnects == 2

    run(scenario)


def test_a_cancelled_call_is_cancelled_at_the_server_and_the_session_goes_on() -> None:
    async def scenario() -> None:
        async with opened(stdio(timeout_seconds=0.5)) as toolbox:
            before = await text(toolbox, "pid")
            task = asyncio.create_task(call(toolbox, "sleep", seconds=60))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            late = await call(toolbox, "sleep", seconds=60)
            assert late.status == "error" and "did not answer within 0.5 s" in str(late.content)
            for _ in range(100):
                if await text(toolbox, "cancellations") == "2":
                    break
                await asyncio.sleep(0.05)
            assert await text(toolbox, "cancellations") == "2"
            assert await text(toolbox, "pid") == before

    run(scenario)


def test_a_dead_a_deaf_and_a_missing_server_cost_the_others_nothing() -> None:
    async def scenario() -> None:
        servers = (
            stdio("good", allowed_tools=["echo", "pid", "missing"]),
            stdio("dead", {"exit": 3}),
            stdio("deaf", {"deaf": 0}),
            stdio("mute", command="/bin/cat", args=[]),
            McpServer(name="absent", transport="stdio", command="no-such-program"),
            McpServer(name="away", transport="http", url="http://127.0.0.1:9/mcp"),
        )
        with capture_logs() as logs:
            async with opened(*servers, settled=False) as toolbox:
                assert toolbox.tools() == []
                await until(lambda: len(toolbox.tools()) == 2, "the good server's tools")
                assert await text(toolbox, "echo", text="hi") == "hi"
                await until(
                    lambda: all(health(toolbox, name).last_error for name in ("dead", "absent", "away")), "the outcomes"
                )
                assert health(toolbox, "good").warnings == [
                    "allowed_tools names 'missing', which the server does not have."
                ]
                assert health(toolbox, "dead").last_error == "its process ended with status 3"
                assert "no program 'no-such-program'" in str(health(toolbox, "absent").last_error)
                assert "cannot be reached" in str(health(toolbox, "away").last_error)
                assert health(toolbox, "deaf").state is ToolServerState.CONNECTING
        assert {"event": "MCP server says", "server": "dead", "line": "no licence found", "log_level": "info"} in logs

    run(scenario)


def test_a_server_without_which_there_is_no_answer() -> None:
    async def scenario() -> None:
        async with opened(stdio("vital", fail_mode="closed", retries=0), timing=QUICK) as toolbox:
            toolbox.require_closed_servers()
            with pytest.raises(ToolServerUnavailable, match="'vital' is unavailable: its process ended with status 7"):
                await call(toolbox, "die")
        async with opened(stdio("vital", {"exit": 3}, fail_mode="closed")) as toolbox:
            with pytest.raises(ToolServerUnavailable, match="'vital' is unavailable"):
                toolbox.require_closed_servers()

    run(scenario)


def test_a_server_that_hangs_is_found_by_ping_and_started_anew() -> None:
    async def scenario() -> None:
        async with opened(stdio(options={"deaf": 3}), timing=replace(QUICK, ping=0.5)) as toolbox:
            await until(lambda: health(toolbox, "local").reconnects >= 1, "the reconnect")
            assert health(toolbox, "local").state is not ToolServerState.CONNECTING or names(toolbox)

    run(scenario)


def test_the_list_of_tools_follows_the_server() -> None:
    async def scenario() -> None:
        async with opened(stdio("b"), timing=Timing(refresh=0.1)) as toolbox:
            assert await text(toolbox, "grow", name="newborn") == "grown"
            await until(lambda: "newborn" in names(toolbox), "the new tool")

    run(scenario)


def test_an_update_keeps_what_is_unchanged_and_lets_calls_in_flight_end() -> None:
    async def scenario() -> None:
        kept, gone, new = stdio("kept"), stdio("gone", allowed_tools=["sleep"]), stdio("new", allowed_tools=["echo"])
        async with opened(kept, gone) as toolbox:
            assert {"kept_sleep", "gone_sleep", "pid"} <= names(toolbox)
            before = await text(toolbox, "pid")
            asleep = asyncio.create_task(text(toolbox, "gone_sleep", seconds=1))
            await asyncio.sleep(0.1)
            await toolbox.update([kept, new])
            await toolbox.settled(40)
            assert {"sleep", "new_echo", "kept_echo"} <= names(toolbox)
            assert await text(toolbox, "pid") == before
            assert await asleep == "slept"

    run(scenario)


def test_a_server_gets_its_own_environment_and_no_other_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        server = stdio(env={"KEY": "env:THE_KEY"}, allowed_tools=["env", "mutter"])
        toolbox = Toolbox([server], lambda text: "s3cret-value" if text == "env:THE_KEY" else text)
        with capture_logs() as logs:
            await toolbox.open()
            await toolbox.settled(40)
            assert await text(toolbox, "env", name="KEY") == "s3cret-value"
            assert await text(toolbox, "env", name="OUR_TOKEN") == "not set"
            assert await text(toolbox, "env", name="AGENT_INSTANCE_ID") == "agent-1"
            await text(toolbox, "mutter", text="my key is s3cret-value")
            await toolbox.close()
        assert "s3cret-value" not in str(logs)
        assert "my key is [redacted]" in str(logs)

    monkeypatch.setenv("OUR_TOKEN", "hidden")
    monkeypatch.setenv("AGENT_INSTANCE_ID", "agent-1")
    run(scenario)


@pytest.mark.full
@LINUX
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_whatever_a_server_has_started_ends_with_the_agent(number: signal.Signals) -> None:
    code = "import asyncio; from tests.fixtures.mcp_agent import agent\n"
    code += (
        "async def main(): print('pids', *await agent({}), flush=True); await asyncio.sleep(600)\nasyncio.run(main())"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        pids = [int(pid) for pid in next(line for line in process.stdout if line.startswith("pids")).split()[1:]]
        assert all(lives(pid) for pid in pids)
    finally:
        process.send_signal(number)
        process.communicate()
    ended(pids)


@LINUX
def test_a_server_whose_guardian_is_killed_dies_with_it_and_is_started_again() -> None:
    async def scenario() -> None:
        async with opened(stdio(), timing=QUICK) as toolbox:
            pid = int(await text(toolbox, "pid"))
            stat = read_stat(pid)
            assert stat is not None
            os.kill(stat.parent, signal.SIGKILL)
            await until(lambda: health(toolbox, "local").reconnects == 1, "the reconnect")
            assert not lives(pid)
            assert int(await text(toolbox, "pid")) != pid

    run(scenario)


@LINUX
@pytest.mark.full
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["exec", "fork"])
def test_servers_end_with_an_adapter_that_is_killed_however_it_was_started(kind: str, tmp_path: Path) -> None:
    pids: list[int] = []

    async def start_and_kill(shop: Workshop) -> None:
        manager = FakeManager()
        try:
            launch = shop.adapter(manager, "tests.fixtures.mcp_agent:agent", directory=ROOT)
            process = await shop.start(launch)
            async with spawning.http(await spawning.registered(manager, launch)) as client:
                answer = await client.post("/execute", json={"parameters": {}})
                pids.extend(answer.json()["result"])
            assert all(lives(pid) for pid in pids)
            os.kill(process.identity.pid, signal.SIGKILL)
            await spawning.ended(process)
        finally:
            manager.close()

    spawning.scenario(kind, tmp_path, start_and_kill)
    ended(pids)


@pytest.mark.full
@pytest.mark.timeout(180)
def test_closing_at_any_moment_leaves_no_call_waiting_and_no_process_running() -> None:
    chance = random.Random(7)
    others = set(psutil.Process().children())
    patient = replace(QUICK, ping_interval=0.05, first_backoff=0.01, longest_backoff=30)

    with web_server("http", {"TOKEN": "let-me-in"}) as guarded, web_server("http") as http, web_server("sse") as sse:
        servers = (
            guarded.definition(name="refused"),
            http.definition(name="http"),
            sse.definition(name="sse"),
            stdio("good"),
            stdio("dead", {"exit": 1}),
            stdio("deaf", {"deaf": 1}),
        )

        async def scenario() -> None:
            async with opened(*servers, timing=patient, settled=False) as toolbox:
                await asyncio.sleep(chance.uniform(0, 0.6))
                wanted = [tool for tool in toolbox.tools() if tool.name.endswith(("echo", "sleep", "pid"))]
                calls = [asyncio.create_task(tool.ainvoke({"text": "x", "seconds": 60})) for tool in wanted]
                await asyncio.sleep(chance.uniform(0, 0.1))
            if calls:
                _, waiting = await asyncio.wait(calls, timeout=10)
                assert not waiting

        with capture_logs() as logs:
            for _ in range(30):
                run(scenario)
    assert not [line for line in logs if "unforeseen" in line["event"]]
    assert not set(psutil.Process().children()) - others


@pytest.mark.full
@pytest.mark.parametrize("kind", ["http", "sse"])
def test_a_server_over_http_dies_in_a_call_and_comes_back_under_another_session(kind: str) -> None:
    async def scenario() -> None:
        with web_server(kind) as server:
            async with opened(server.definition(timeout_seconds=20), timing=QUICK) as toolbox:
                assert await text(toolbox, "echo", text="hi") == "hi"
                task = asyncio.create_task(call(toolbox, "sleep", seconds=60))
                await asyncio.sleep(0.2)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert await text(toolbox, "cancellations") == "1"
                await text(toolbox, "grow", name="newborn")
                await until(lambda: "newborn" in names(toolbox), "the new tool")
                died = await call(toolbox, "die")
                assert died.status == "error" and "the connection broke" in str(died.content)
                server.kill()
                await until(lambda: health(toolbox, "web").state is ToolServerState.UNAVAILABLE, "the loss")
                assert toolbox.tools() == []
                server.start()
                await until(lambda: health(toolbox, "web").state is ToolServerState.READY, "the return")
                assert await text(toolbox, "pid") == str(server.process.pid)
                reconnects = health(toolbox, "web").reconnects
                server.kill()
                server.start()
                if kind == "sse":
                    await until(lambda: health(toolbox, "web").reconnects > reconnects, "the reconnect")
                # Over HTTP the new server says that it does not know the session: the call is begun anew, not failed.
                assert await text(toolbox, "pid") == str(server.process.pid)

    run(scenario)


def test_a_refused_request_is_that_requests_affair_and_is_tried_again() -> None:
    async def scenario() -> None:
        with web_server("http", {"TOKEN": "let-me-in"}) as server:
            good = server.definition(headers={"x-token": "let-me-in"})
            bad = server.definition(name="bad", headers={"x-token": "wrong"})
            # Without pings, which would be refused instead of the call.
            async with opened(good, bad, timing=replace(QUICK, ping_interval=600)) as toolbox:
                assert health(toolbox, "bad").last_error == "it answered 401 Unauthorized; check its headers"
                asleep = asyncio.create_task(text(toolbox, "sleep", seconds=1))
                await asyncio.sleep(0.2)
                async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
                    await client.get("/unwell?status=503&times=1")
                    assert await text(toolbox, "echo", text="again") == "again"
                    await client.get("/unwell?status=500&times=1")
                    assert (await call(toolbox, "echo")).status == "error"
                assert await asleep == "slept"
                assert health(toolbox, "web").reconnects == 0

    run(scenario)
