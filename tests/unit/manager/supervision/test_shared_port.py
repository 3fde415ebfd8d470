from __future__ import annotations

import os
import socket
import sys
from dataclasses import replace
from unittest.mock import Mock

import pytest

from manager.supervision import shared_port
from manager.supervision.identity import identify
from manager.supervision.shared_port import PortKept, take_listener

ME = identify(os.getpid())

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems hand over no descriptor")


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> tuple[socket.socket, Mock]:
    """A listener of this very process, told of as psutil would, so that the test looks at nobody's connections."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = Mock(port=listener.getsockname()[1])
    told = [Mock(fd=0, status="ESTABLISHED", laddr=address), Mock(fd=listener.fileno(), status="LISTEN", laddr=address)]
    process = Mock(return_value=Mock(net_connections=lambda kind: told))
    monkeypatch.setattr(shared_port.psutil, "Process", process)
    return listener, process


def test_a_descriptor_of_the_same_listener_is_had(own: tuple[socket.socket, Mock]) -> None:
    listener, port = own[0], own[0].getsockname()[1]
    with listener:
        taken = take_listener(ME, port)
    assert taken is not None
    with taken, socket.create_connection(("127.0.0.1", port)):
        assert taken.getsockname()[1] == port


def test_a_process_that_does_not_listen_there_keeps_nothing(own: tuple[socket.socket, Mock]) -> None:
    with own[0] as listener:
        assert take_listener(ME, listener.getsockname()[1] + 1) is None


def test_a_stranger_with_its_number_is_left_alone(own: tuple[socket.socket, Mock]) -> None:
    with own[0] as listener:
        assert take_listener(replace(ME, created_at="0"), listener.getsockname()[1]) is None


def test_one_that_the_system_does_not_hand_over_is_told_from_one_that_is_not_there(
    own: tuple[socket.socket, Mock], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_port.ctypes, "CDLL", lambda *_, **__: Mock(syscall=lambda *_: -1))
    with own[0] as listener, pytest.raises(PortKept):
        take_listener(ME, listener.getsockname()[1])


def test_a_descriptor_that_became_something_else_meanwhile_is_given_back(
    own: tuple[socket.socket, Mock], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = os.open(os.devnull, os.O_RDONLY)
    monkeypatch.setattr(shared_port.ctypes, "CDLL", lambda *_, **__: Mock(syscall=lambda *_: other))
    with own[0] as listener:
        assert take_listener(ME, listener.getsockname()[1]) is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(other)
