"""The command `agent-manager`: which commands there are, and how each of them fails."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from manager.cli import (
    agents,
    config,
    doctor,
    down,
    events,
    execute,
    init,
    inspect,
    logs,
    reload,
    scale,
    tracing,
    up,
    version,
    webhooks,
)
from manager.cli.actions import ACTION_HELP, command_for
from manager.cli.output import print_error
from manager.cli.session import Session
from manager.errors import ManagerError

RootUrl = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="The manager to talk to; else AGENT_MANAGER_URL, else the one running here, else the config's managerUrl.",
        show_default=False,
    ),
]


def _print_version(is_asked: bool) -> None:
    if is_asked:
        version.version()
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
]


class _Commands(TyperGroup):
    """Where expected errors become one sentence on stderr and exit status 1, whatever the command."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ManagerError as error:
            print_error(error.detail)
            raise typer.Exit(1) from None


def build_app() -> typer.Typer:
    """Every command, ready to be called. A context object that is a `Session` replaces the process's own."""
    # Without rich's panels the help is plain text that pipes well, and it comes twice as fast.
    app = typer.Typer(cls=_Commands, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback(no_args_is_help=True)(_root)
    app.command()(up.up)
    app.command()(agents.ps)
    app.command()(agents.status)
    for action, text in ACTION_HELP.items():
        app.command(action.value, help=text)(command_for(action))
    app.command()(scale.scale)
    app.command()(tracing.tracing)
    app.command()(execute.execute)
    app.command()(logs.logs)
    app.command()(events.events)
    app.command()(inspect.inspect)
    app.command()(doctor.doctor)
    app.command()(init.init)
    app.command()(reload.reload)
    app.command()(down.down)
    app.command()(version.version)
    configs = typer.Typer(
        rich_markup_mode=None,
        help="Look into the config: check it, or compare it with what runs.",
        no_args_is_help=True,
    )
    configs.command()(config.check)
    configs.command()(config.diff)
    app.add_typer(configs, name="config")
    hooks = typer.Typer(
        rich_markup_mode=None,
        help="Who is told of events: list the webhooks, or test one.",
        no_args_is_help=True,
    )
    hooks.command("list")(webhooks.list_all)
    hooks.command()(webhooks.test)
    app.add_typer(hooks, name="webhooks")
    return app


def main() -> None:
    """The entry point of the installed command."""
    for stream in (sys.stdout, sys.stderr):
        # A pipe that cannot carry a character gets its escape, not a traceback.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    build_app()(prog_name="agent-manager")


def _root(context: typer.Context, url: RootUrl = None, version: Version = False) -> None:
    """Runs a fleet of AI agents as isolated processes: start, pause, drain, restart, execute, watch."""
    session = context.obj if isinstance(context.obj, Session) else Session.of_process()
    context.obj = replace(session, url=url)
