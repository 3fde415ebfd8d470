"""`up`: the manager itself, in the foreground."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from manager.cli.options import ConfigOption
from manager.cli.output import make_console
from manager.cli.session import Session, session_of
from manager.cli.target import URL_VARIABLE, find_config, is_loopback, manager_url, require_config, shown

if TYPE_CHECKING:
    from manager.settings import RuntimeSettings, Secrets
    from manager.specs.fleet_config import FleetConfig

Host = Annotated[
    str | None,
    typer.Option("--host", metavar="ADDRESS", help="The address to listen at; else 127.0.0.1.", show_default=False),
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port",
        metavar="PORT",
        min=0,
        max=65_535,
        help="Else the config's managerUrl's; 0 takes a free one.",
        show_default=False,
    ),
]
Dummy = Annotated[bool, typer.Option("--dummy", help="Run every agent as a dummy, which needs no code or model.")]


def up(
    context: typer.Context,
    config: ConfigOption = None,
    host: Host = None,
    port: Port = None,
    dummy: Dummy = False,
) -> None:
    """Run the manager and its agents until Ctrl-C."""
    from manager.settings import read_secrets

    session = session_of(context)
    path = require_config(config, session.directory)
    secrets = read_secrets(session.environ)
    load = partial(_load, path, session, dummy=dummy)
    fleet = load()
    address = host or _default_host(fleet.runtime)
    _refuse_open_door(address, secrets)
    own_port = fleet.runtime.manager_port if port is None else port
    raise typer.Exit(_run(session, fleet, secrets, load, address, own_port))


def _run(
    session: Session, fleet: FleetConfig, secrets: Secrets, load: Callable[[], FleetConfig], host: str, port: int
) -> int:
    # What only a manager needs takes a second to import: a wrong config is told before that.
    from manager.cli.reporter import ConsoleReporter
    from manager.server import run_manager

    reporter = ConsoleReporter(
        make_console(),
        session.clock,
        directory=session.directory,
        program=_program(session.directory),
        expected_url=_expected_url(session, fleet),
    )
    return run_manager(fleet, secrets, load=load, host=host, port=port, console=reporter)


def _expected_url(session: Session, fleet: FleetConfig) -> str | None:
    """The manager that the command line finds from here; None for this one, by its state directory."""
    found = find_config(session.directory)
    if not session.environ.get(URL_VARIABLE) and found is not None and found.absolute() == fleet.path:
        return None
    return manager_url(None, session.environ, session.directory)


def _load(path: Path, session: Session, *, dummy: bool) -> FleetConfig:
    from manager.specs.fleet_config import as_dummies
    from manager.specs.loading import load_config

    # Dummies need no secrets, so theirs need not be there.
    fleet = load_config(path, environ=session.environ, check_references=not dummy)
    return as_dummies(fleet) if dummy else fleet


def _default_host(runtime: RuntimeSettings) -> str:
    is_address = is_loopback(runtime.manager_host) and runtime.manager_host != "localhost"
    return runtime.manager_host if is_address else "127.0.0.1"


def _refuse_open_door(host: str, secrets: Secrets) -> None:
    if not is_loopback(host) and not secrets.tokens():
        raise typer.BadParameter(
            f"{host} can be reached from other machines, and whoever reaches the manager commands it: "
            "set MANAGER_TOKEN to a long random text, or listen at 127.0.0.1.",
            param_hint="--host",
        )


def _program(directory: Path) -> str:
    """How a person at `directory` calls this command: by name where the shell finds it, else by path."""
    return "agent-manager" if shutil.which("agent-manager") else shown(Path(sys.argv[0]).absolute(), directory)
