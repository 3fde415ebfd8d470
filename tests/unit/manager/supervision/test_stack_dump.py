from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from manager.supervision.identity import identify
from manager.supervision.process import ProcessIdentity
from manager.supervision.stack_dump import request_stacks

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def instance(identity: ProcessIdentity) -> Any:
    return SimpleNamespace(agent_id="echo", instance_id="i-1", process=SimpleNamespace(identity=identity))


def test_it_is_announced_and_sent_to_that_very_process_and_never_to_a_stranger_with_its_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[tuple[object, object]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: done.append((pid, number)))

    def announce(agent_id: str, instance_id: str) -> None:
        done.append((agent_id, instance_id))

    me = identify(os.getpid())
    request_stacks(instance(replace(me, created_at="0")), announce)
    request_stacks(instance(replace(me, boot_id="another boot")), announce)
    assert done == []
    request_stacks(instance(me), announce)
    assert done == [("echo", "i-1"), (me.pid, signal.SIGUSR1)]
