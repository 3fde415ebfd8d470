"""The first moments of a forked child: from a copy of the server to an agent's own process. Nothing here returns."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import random
import resource
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import NoReturn

from setproctitle import setproctitle

from agent_service.cgroup import Cgroup
from agent_service.contract import ENV_LISTEN_FD, EXIT_CONFIG
from agent_service.forkserver.start import Start
from agent_service.process import flush


def become(start: Start, public: socket.socket | None, group: Cgroup | None) -> NoReturn:
    """Be the agent, in a process that was just forked with all signals blocked; the process ends in here."""
    status = EXIT_CONFIG
    try:
        # First of all: it takes the rights of the server, and holds whatever is started from here on.
        if group is not None:
            group.enter()
        _leave_the_server(start, public)
        if start.is_fork:
            _enter(start)
            status = _status_of(lambda: _run_adapter(start, public))
        else:
            _execute(start, public)
    except BaseException:  # noqa: BLE001 - outermost: nothing may get through to the server's loop, whose stack this is
        traceback.print_exc()
    finally:
        flush()
        os._exit(status)


def _leave_the_server(start: Start, public: socket.socket | None) -> None:
    os.setsid()
    # 1. Signals: what came in between waits until the server's handlers are gone.
    _reset_signals(is_python=start.is_fork)
    # 2. Descriptors: a socket object of the server is never closed here, for its number may be another's by then.
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (start.log, 1), (start.log, 2)):
        os.dup2(source, target)
    kept = (0, 1, 2, -1 if public is None else public.fileno())
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor not in kept:
            with contextlib.suppress(OSError):  # the one that the listing itself had open
                os.close(descriptor)
    # 3. Limits before the user changes: only root may raise them.
    for kind, limits in start.limits.items():
        resource.setrlimit(kind, limits)
    if start.account is not None and start.account.must_switch:
        os.setgroups(start.account.groups)
        os.setgid(start.account.gid)
        os.setuid(start.account.uid)
    try:
        os.chdir(start.directory)
    except OSError as error:
        _give_up(f"The working directory {start.directory!r} cannot be entered ({error.strerror}); check who may.")


def _reset_signals(*, is_python: bool) -> None:
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(number) is not None:
            signal.signal(number, signal.SIG_DFL)
    if is_python:
        # As an interpreter sets them when it starts.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _enter(start: Start) -> None:
    """Set right whatever an interpreter of the agent's own would have made at its start."""
    gc.enable()
    os.environ.clear()
    os.environ.update(start.environment)
    time.tzset()
    setproctitle(f"agent: {start.agent_id}")
    _forget_random_state()
    if not sys.flags.safe_path:
        # The server's own directory stands there: the interpreter put it in for -m.
        sys.path[0] = start.directory
    main = importlib.import_module("agent_service.__main__")
    sys.modules["__main__"] = main
    sys.argv = [str(main.__file__), *start.argv[3:]]
    sys.orig_argv = list(start.argv)


def _forget_random_state() -> None:
    random.seed()
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        numpy_random.seed()
    if (processes := sys.modules.get("multiprocessing.process")) is not None:
        processes.current_process().authkey = os.urandom(32)


def _run_adapter(start: Start, public: socket.socket | None) -> None:
    main: Callable[[socket.socket | None], NoReturn] = importlib.import_module("agent_service.__main__").main
    main(public)


def _status_of(run: Callable[[], None]) -> int:
    """Run as the interpreter would run a program; its exit status."""
    status = 1
    try:
        run()
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException as error:  # noqa: BLE001 - as the interpreter does at its outermost
        sys.excepthook(type(error), error, error.__traceback__)
    # What the interpreter does at its end: threads first, then whatever asked to be called.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    return status


def _execute(start: Start, public: socket.socket | None) -> NoReturn:
    environment: Mapping[str, str] = start.environment
    if public is not None:
        public.set_inheritable(True)
        environment = {**environment, ENV_LISTEN_FD: str(public.fileno())}
    try:
        os.execvpe(start.argv[0], start.argv, environment)
    except OSError as error:
        _give_up(f"The program {start.argv[0]!r} cannot be executed ({error.strerror}); check it and its permissions.")


def _give_up(why: str) -> NoReturn:
    """Say why in the agent's log; no restart can help."""
    sys.stderr.write(f"{why}\n")
    sys.stderr.flush()
    os._exit(EXIT_CONFIG)
