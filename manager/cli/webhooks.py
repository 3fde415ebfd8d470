"""`webhooks`: how those who are told of events do, and `webhooks test`, which tries one."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from manager.cli.options import AsJson, Url
from manager.cli.output import duration, local_time, print_error, print_json, print_line, printable
from manager.cli.session import session_of

if TYPE_CHECKING:
    from manager.notifications.views import WebhookView

Name = Annotated[str, typer.Argument(metavar="NAME", help="The webhook's name.", show_default=False)]


def list_all(context: typer.Context, as_json: AsJson = False, url: Url = None) -> None:
    """Show every webhook, what it was told last, and what waits."""
    session = session_of(context)
    with session.connect(url) as manager:
        answer = manager.webhooks()
        if as_json:
            print_json(answer)
            return
        views = manager.parse_webhooks(answer.get("webhooks"))
    if not views:
        print_line("The config has no webhooks; `runtime.webhooks` names them.")
    for view in views:
        for line in _lines(view, session.clock.now()):
            print_line(printable(line))


def test(context: typer.Context, name: Name, as_json: AsJson = False, url: Url = None) -> None:
    """Send a webhook a test, once; exit status 1 when it did not arrive."""
    with session_of(context).connect(url) as manager:
        answer = manager.test_webhook(name)
        delivery = manager.parse_delivery(answer)
    if as_json:
        print_json(answer)
    elif delivery.state == "delivered":
        print_line(f"{name} took the test {delivery.id}: {delivery.status} after {_took(delivery.duration_ms)}")
    else:
        print_error(f"{name} did not take the test {delivery.id}: {delivery.error}")
    if delivery.state != "delivered":
        raise typer.Exit(1)


def _lines(view: WebhookView, now: datetime) -> list[str]:
    whose = "all agents" if view.agents is None else ", ".join(view.agents)
    lines = [f"{view.name:<16} {view.url}", f"  told of        {', '.join(view.kinds)} ({whose})"]
    if last := view.last_delivery:
        outcome = last.state.replace("_", " ") + (f": {last.error}" if last.error else "")
        lines.append(f"  last           {local_time(last.created_at)}  {last.type}, {outcome}")
    else:
        lines.append("  last           nothing yet")
    if view.pending:
        wait = (view.next_attempt_at - now).total_seconds() if view.next_attempt_at else 0
        lines.append(f"  waiting        {view.pending}, the next attempt in {duration(wait)}")
    if view.consecutive_failures:
        lines.append(f"  failures       {view.consecutive_failures} in a row")
    return lines


def _took(milliseconds: float | None) -> str:
    return duration((milliseconds or 0) / 1000)
