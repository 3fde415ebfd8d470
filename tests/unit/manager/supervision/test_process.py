from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from manager.errors import SpawnFailed
from manager.supervision import adopted_process, process_group
from manager.supervision.adopted_process import AdoptedProcess
from manager.supervision.exec_spawner import ExecSpawner
from manager.supervision.identity import boot_id, created_at, identify, identity_now, is_running
from manager.supervision.process import Exit, Launch, ProcessIdentity

NOBODY = 2**22 + 1


@pytest.mark.parametrize(
    ("exit_", "told"),
    [
        (Exit(code=0), "exited with status 0"),
        (Exit(code=78), "exited with status 78"),
        (Exit(signal=9), "killed by signal 9 (SIGKILL)"),
        (Exit(signal=250), "killed by signal 250 (unknown)"),
        (Exit(), "ended, exit status unknown"),
    ],
)
def test_an_exit_tells_itself(exit_: Exit, told: str) -> None:
    assert str(exit_) == told


@pytest.mark.parametrize(
    ("returncode", "exit_"), [(0, Exit(code=0)), (3, Exit(code=3)), (-signal.SIGTERM, Exit(signal=15))]
)
def test_a_negative_return_code_is_a_signal(returncode: int, exit_: Exit) -> None:
    assert Exit.from_returncode(returncode) == exit_


def test_a_process_is_known_by_when_it_was_created_and_in_which_run_of_the_machine() -> None:
    me = identify(os.getpid())
    assert me == identify(os.getpid())
    assert is_running(me)
    assert not is_running(ProcessIdentity(me.pid, me.created_at + "0", me.boot_id))
    assert not is_running(ProcessIdentity(me.pid, me.created_at, "another boot"))
    assert boot_id() == me.boot_id and identity_now(me.pid, me.created_at) == me


def test_nobody_has_no_identity_to_be_mistaken_for() -> None:
    assert created_at(NOBODY) is None
    nobody = identify(NOBODY)
    assert nobody.created_at == ""
    assert not is_running(nobody)


def adopted(known: ProcessIdentity, monkeypatch: pytest.MonkeyPatch) -> tuple[Exit | None, list[tuple[str, int]]]:
    """How an adopted process is seen to end at once, if it does, and whom a kill and a SIGTERM would hit."""
    sent: list[tuple[str, int]] = []
    monkeypatch.setattr(process_group, "kill_group", lambda pid: sent.append(("KILL", pid)))
    monkeypatch.setattr(process_group, "terminate", lambda pid: sent.append(("TERM", pid)))

    async def scenario() -> Exit | None:
        process = AdoptedProcess(known)
        await asyncio.sleep(0)
        process.terminate()
        process.kill()
        return process.exited.result() if process.exited.done() else None

    return asyncio.run(scenario()), sent


needs_pidfd = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="watched by a thread here")


@needs_pidfd
def test_an_adopted_process_that_is_gone_has_ended_with_a_status_that_nobody_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exit_, _ = adopted(identity_now(NOBODY, "1"), monkeypatch)
    assert exit_ == Exit()


@needs_pidfd
def test_a_stranger_under_the_number_of_an_adopted_process_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    me = identify(os.getpid())
    exit_, sent = adopted(ProcessIdentity(me.pid, me.created_at + "0", me.boot_id), monkeypatch)
    assert exit_ == Exit()
    assert sent == []


@needs_pidfd
def test_a_stranger_that_comes_between_the_check_and_the_watch_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    me = identify(os.getpid())
    monkeypatch.setattr(adopted_process, "is_running", lambda _identity: False)
    exit_, _ = adopted(me, monkeypatch)
    assert exit_ == Exit()


def test_a_log_that_cannot_be_opened_refuses_the_start_with_what_to_check(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    launch = Launch("echo", "i-1", ("some-command",), {}, tmp_path, tmp_path / "logs" / "echo.log")
    with pytest.raises(SpawnFailed, match=r"refused to start 'some-command' .* the log directory") as refused:
        asyncio.run(ExecSpawner().spawn(launch))
    assert refused.value.agent_id == "echo"


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize("error", [ProcessLookupError, PermissionError])
def test_ending_a_group_that_is_gone_or_not_ours_is_harmless(
    error: type[OSError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, "killpg", gone)
    process_group.kill_group(NOBODY)
    monkeypatch.setattr(os, "kill", gone)
    if error is ProcessLookupError:
        process_group.terminate(NOBODY)
