"""Listening sockets that outlive the processes behind them."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from agent_service.errors import ConfigError, PortInUse
from agent_service.http.listeners import PublicListeners
from agent_service.http.sockets import inherited
from manager.supervision.free_port import free_port


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_listener_is_bound_once_and_kept_until_it_is_released() -> None:
    listeners, port = PublicListeners(), free_port("127.0.0.1")
    assert listeners.find("a", port) is None
    taken = listeners.take("a", port)
    assert listeners.take("a", port) is taken is listeners.find("a", port)
    assert is_open(port)
    listeners.release("a")
    listeners.release("a")
    assert not is_open(port)
    listeners.take("a", port)
    listeners.close()
    assert not is_open(port)


def test_an_agent_whose_port_changes_leaves_the_old_one() -> None:
    listeners, (old, new) = PublicListeners(), (free_port("127.0.0.1"), free_port("127.0.0.1"))
    listeners.take("a", old)
    listeners.take("a", new)
    assert (is_open(old), is_open(new)) == (False, True)
    listeners.close()


def test_a_taken_port_is_refused_and_what_was_kept_stays() -> None:
    listeners, port = PublicListeners(), free_port("127.0.0.1")
    kept = listeners.take("a", port)
    with pytest.raises(PortInUse, match=f"Port {port} on 127.0.0.1 is in use"):
        listeners.take("b", port)
    assert listeners.find("a", port) is kept
    listeners.close()


@pytest.mark.skipif(sys.platform == "win32", reason="sockets are not handed from process to process there")
def test_a_received_listener_stays_non_blocking_for_all_who_share_it() -> None:
    sender, receiver = PublicListeners(), PublicListeners()
    sent = sender.take("a", port := free_port("127.0.0.1"))
    received = sent.dup().detach()
    receiver.keep("a", socket.socket(fileno=received))
    found = receiver.find("a", port)
    assert found is not None
    found.dup().close()
    assert not os.get_blocking(sent.fileno())
    sender.close()
    receiver.close()


@pytest.mark.skipif(sys.platform == "win32", reason="sockets are no descriptors there")
def test_a_descriptor_that_is_no_listening_socket_is_a_config_error() -> None:
    reading, writing = os.pipe()
    for descriptor in (reading, 2**20):
        with pytest.raises(ConfigError, match=f"The descriptor {descriptor} is no listening socket"):
            inherited(descriptor)
    os.close(reading)
    os.close(writing)
    with socket.socket() as idle, pytest.raises(ConfigError, match="it does not listen"):
        inherited(idle.fileno())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        copy = inherited(listening.fileno())
        assert copy.fileno() != listening.fileno()
        copy.close()
