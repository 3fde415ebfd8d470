from __future__ import annotations

import threading

from agent_service.process import all_end, staying_threads, successor_arguments


def test_a_successor_gets_the_same_command_line() -> None:
    arguments = ["-m", "agent_service", "--id", "x", "--port", "8100"]
    assert successor_arguments(arguments, asked_port=8100, bound_port=8100) == arguments


def test_a_port_that_the_system_picked_is_kept() -> None:
    arguments = ["-m", "agent_service", "--id", "x", "--port", "0"]
    assert successor_arguments(arguments, asked_port=0, bound_port=4711) == [*arguments, "--port", "4711"]
    assert arguments[-1] == "0"


def test_a_thread_that_does_not_end_is_noticed() -> None:
    released = threading.Event()
    thread = threading.Thread(target=released.wait)
    thread.start()
    try:
        assert thread in staying_threads()
        assert not all_end([thread], 0.0)
    finally:
        released.set()
    assert all_end([thread], 10.0)
    assert thread not in staying_threads()


def test_a_daemon_thread_and_the_main_thread_keep_nothing_alive() -> None:
    released = threading.Event()
    daemon = threading.Thread(target=released.wait, daemon=True)
    daemon.start()
    try:
        assert not {daemon, threading.main_thread()} & set(staying_threads())
    finally:
        released.set()
        daemon.join()
