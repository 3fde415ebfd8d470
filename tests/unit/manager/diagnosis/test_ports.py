from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from manager.diagnosis import ports
from manager.diagnosis.ports import check_ports
from manager.store.holder import Holder
from tests.unit.manager.diagnosis.set_up import found, surroundings

AGENT = {"id": "one", "port": 8100}
Listen = Callable[[dict[int, int | None]], None]


@pytest.fixture
def listen(monkeypatch: pytest.MonkeyPatch) -> Listen:
    """Have these ports be listened at by these processes; pid 7 is an agent's, every other one nginx."""

    class Process:
        def __init__(self, pid: int) -> None:
            self._pid = pid

        def environ(self) -> dict[str, str]:
            return {"AGENT_INSTANCE_ID": "one-1"} if self._pid == 7 else {}

        def name(self) -> str:
            return "nginx"

    monkeypatch.setattr(psutil, "Process", Process)

    def begin(listening: dict[int, int | None]) -> None:
        def connections(kind: str) -> list[Any]:
            other = SimpleNamespace(status=psutil.CONN_ESTABLISHED, laddr=SimpleNamespace(port=8000), pid=9)
            return [other] + [
                SimpleNamespace(status=psutil.CONN_LISTEN, laddr=SimpleNamespace(port=port), pid=pid)
                for port, pid in listening.items()
            ]

        monkeypatch.setattr(psutil, "net_connections", connections)

    return begin


def test_ports_that_are_free(listen: Listen, tmp_path: Path) -> None:
    listen({})
    assert found(check_ports, surroundings(tmp_path, AGENT, {"id": "two"})) == [
        ("ok", "Port 8000 of the manager is free"),
        ("ok", "Port 8100 of one is free"),
    ]


@pytest.mark.parametrize(("pid", "whom"), [(5, "nginx (pid 5)"), (None, "a process of another user")])
def test_ports_that_others_have_taken(pid: int | None, whom: str, listen: Listen, tmp_path: Path) -> None:
    listen({8000: pid, 8100: pid})
    assert found(check_ports, surroundings(tmp_path, AGENT)) == [
        ("error", f"Port 8000 of the manager is taken by {whom}"),
        ("error", f"Port 8100 of one is taken by {whom}"),
    ]


def test_ports_that_are_held_by_their_owners(listen: Listen, tmp_path: Path) -> None:
    listen({8000: 3, 8100: 7})
    around = replace(surroundings(tmp_path, AGENT), holder=Holder(3, "http://127.0.0.1:8000"))
    assert [level for level, _ in found(check_ports, around)] == ["ok", "ok"]


def test_an_agent_at_the_manager_s_port_is_in_its_way(listen: Listen, tmp_path: Path) -> None:
    listen({8000: 7})
    assert [level for level, _ in found(check_ports, surroundings(tmp_path))] == ["error"]


def test_a_port_for_root_only_is_a_warning(listen: Listen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listen({})
    monkeypatch.setattr(ports.os, "geteuid", lambda: 1000, raising=False)
    monkeypatch.setattr(ports.sys, "platform", "linux")
    assert found(check_ports, surroundings(tmp_path, {"id": "one", "port": 80}))[1][0] == "warning"


def test_where_the_system_does_not_tell_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", refuse)
    ((level, message),) = found(check_ports, surroundings(tmp_path))
    assert (level, "root only" in message) == ("warning", True)
