from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace

import pytest

from manager.supervision.identity import identify
from manager.supervision.stack_dump import request_stacks

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def test_the_signal_goes_to_that_very_process_and_never_to_a_stranger_with_its_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    me = identify(os.getpid())
    request_stacks(replace(me, created_at="0"))
    request_stacks(replace(me, boot_id="another boot"))
    assert sent == []
    request_stacks(me)
    assert sent == [(me.pid, signal.SIGUSR1)]
