"""`down`: ends the manager, and with it every agent, once their tasks are done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from manager.cli.options import Url
from manager.cli.output import duration, print_line
from manager.cli.session import Session, session_of
from manager.cli.target import is_loopback
from manager.supervision.states import AgentState

if TYPE_CHECKING:
    import psutil

    from manager.cli.client import ManagerClient

POLL_SECONDS = 0.2
EXIT_SECONDS = 10.0


LeaveAgents = Annotated[
    bool, typer.Option("--leave-agents", help="Let the agents go on; the next `up` takes them back as they are.")
]


def down(context: typer.Context, leave_agents: LeaveAgents = False, url: Url = None) -> None:
    """Drain every agent and end the manager; returns when it is gone."""
    session = session_of(context)
    since = session.clock.monotonic()
    with session.connect(url) as manager:
        process = _local_process(manager.url, manager.shutdown(leave_agents=leave_agents).get("pid"))
        _wait_until_silent(manager, session, process)
    _wait_until_exited(session, process)
    print_line(f"The manager at {manager.url} has ended after {duration(session.clock.monotonic() - since)}")


def _wait_until_silent(manager: ManagerClient, session: Session, process: psutil.Process | None) -> None:
    from manager.cli.client import ManagerUnreachable, RequestFailed
    from manager.cli.progress import Progress

    with Progress() as progress:
        # A service manager may have started the next one at once: it answers too, but the process is gone.
        while process is None or _is_alive(process):
            try:
                views = manager.views()
            except ManagerUnreachable:
                return
            except RequestFailed:
                views = []
            progress.show([view for view in views if view.state is AgentState.STOPPING], session.clock.now())
            session.sleep(POLL_SECONDS)


def _wait_until_exited(session: Session, process: psutil.Process | None) -> None:
    # The socket closes a moment before the process ends and lets go of its state directory.
    deadline = session.clock.monotonic() + EXIT_SECONDS
    while process is not None and _is_alive(process) and session.clock.monotonic() < deadline:
        session.sleep(POLL_SECONDS)


def _local_process(url: str, pid: Any) -> psutil.Process | None:
    import psutil

    if not isinstance(pid, int) or not is_loopback(urlsplit(url).hostname or ""):
        return None
    try:
        return psutil.Process(pid)
    except psutil.Error:
        return None


def _is_alive(process: psutil.Process) -> bool:
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
