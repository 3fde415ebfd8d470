"""`start`, `stop`, `restart`, `pause`, `resume`, `kill`: one command per lifecycle action."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from manager.cli.options import AgentsArgument, AsJson, Url
from manager.cli.orders import Order, carry_out
from manager.cli.session import session_of
from manager.supervision.states import AgentAction, Strategy

ACTION_HELP = {
    AgentAction.START: "Start agents.",
    AgentAction.STOP: "Let agents finish their tasks, then end them.",
    AgentAction.RESTART: "Let agents finish their tasks, then start them anew.",
    AgentAction.PAUSE: "Let agents refuse new tasks until they are resumed.",
    AgentAction.RESUME: "Let paused agents take tasks again.",
    AgentAction.KILL: "End agents at once, without letting their tasks finish.",
}

All = Annotated[bool, typer.Option("--all", help="Every agent whose state allows it.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Why; kept in the history.", show_default=False)]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is done, or only ask for it.")]
DrainTimeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        min=0,
        help="How long tasks in flight may take to end; else the agent's drainTimeoutSeconds.",
        show_default=False,
    ),
]

HowToRestart = Annotated[
    Strategy | None,
    typer.Option("--strategy", help="The successor first, or the old process first.", show_default=False),
]


def command_for(action: AgentAction) -> Callable[..., None]:
    """The function behind the command of this name; its signature is the command's."""
    match action:
        case AgentAction.STOP:
            return _stop
        case AgentAction.RESTART:
            return _restart
        case _:
            return _command(action)


def _command(action: AgentAction) -> Callable[..., None]:
    def command(
        context: typer.Context,
        ids: AgentsArgument = None,
        every: All = False,
        reason: Reason = None,
        wait: Wait = True,
        as_json: AsJson = False,
        url: Url = None,
    ) -> None:
        carry_out(session_of(context), url, Order(action, ids or [], every, reason, wait, as_json))

    return command


def _stop(
    context: typer.Context,
    ids: AgentsArgument = None,
    every: All = False,
    reason: Reason = None,
    timeout: DrainTimeout = None,
    wait: Wait = True,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    order = Order(AgentAction.STOP, ids or [], every, reason, wait, as_json, timeout)
    carry_out(session_of(context), url, order)


def _restart(
    context: typer.Context,
    ids: AgentsArgument = None,
    every: All = False,
    strategy: HowToRestart = None,
    reason: Reason = None,
    timeout: DrainTimeout = None,
    wait: Wait = True,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    order = Order(AgentAction.RESTART, ids or [], every, reason, wait, as_json, timeout, strategy)
    carry_out(session_of(context), url, order)
