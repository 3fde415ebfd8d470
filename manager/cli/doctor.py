"""`doctor`: what is wrong with a set-up, and what to do about it; with and without a running manager."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from manager.cli.options import AsJson, ConfigOption, Url
from manager.cli.output import print_json, print_line, printable
from manager.cli.session import Session, session_of
from manager.cli.target import require_config
from manager.errors import ConfigError, ConfigIssue

if TYPE_CHECKING:
    from manager.cli.client import ManagerClient
    from manager.diagnosis.finding import Finding
    from manager.diagnosis.surroundings import ManagerAnswers, Surroundings
    from manager.specs.fleet_config import FleetConfig
    from manager.store.holder import Holder

_MARKS = {"ok": "ok     ", "warning": "WARNING", "error": "ERROR  "}


def doctor(context: typer.Context, config: ConfigOption = None, as_json: AsJson = False, url: Url = None) -> None:
    """Say what is wrong here and what to do about it; changes nothing. Exit status 1 where something is wrong."""
    # Imported here: only this command pays for what it looks at.
    from manager.diagnosis.examination import examine
    from manager.diagnosis.finding import Level

    session = session_of(context)
    findings = list(examine(_look_around(session, require_config(config, session.directory), url)))
    is_wrong = any(finding.level is Level.ERROR for finding in findings)
    if as_json:
        print_json({"ok": not is_wrong, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            _print(finding)
        print_line(_summary(findings))
    if is_wrong:
        raise typer.Exit(1)


def _print(finding: Finding) -> None:
    print_line(printable(f"{_MARKS[finding.level]} {finding.check:<15} {finding.message}"))
    if finding.remedy:
        print_line(printable(f"{'':<23} → {finding.remedy}"))


def _summary(findings: list[Finding]) -> str:
    errors, warnings = (sum(each.level == level for each in findings) for level in ("error", "warning"))
    told = [f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in ((errors, "error"), (warnings, "warning"))]
    return ", ".join(told) if errors or warnings else "Nothing is wrong"


def _look_around(session: Session, path: Path, url: str | None) -> Surroundings:
    from manager.diagnosis.surroundings import Surroundings
    from manager.store.holder import is_held_by, named_holder

    config, issues = _read(path, session)
    named = named_holder(config.state_directory) if config else None
    holder = named if config and named and is_held_by(named, config.state_directory) else None
    target = url or session.url or (holder.url if holder else None)
    return Surroundings(
        environ=session.environ,
        clock=session.clock,
        config_path=path,
        config=config,
        issues=issues,
        holder=holder,
        last_holder=named,
        answers=_ask(session, target) if target else _starting(holder),
    )


def _read(path: Path, session: Session) -> tuple[FleetConfig | None, list[ConfigIssue]]:
    from manager.specs.loading import load_config

    try:
        return load_config(path, environ=session.environ), []
    except ConfigError as error:
        return None, error.issues


def _starting(holder: Holder | None) -> ManagerAnswers | None:
    from manager.diagnosis.surroundings import ManagerAnswers

    return ManagerAnswers(f"pid {holder.pid}", trouble="is just starting") if holder else None


def _ask(session: Session, url: str) -> ManagerAnswers:
    """What the manager says. It is asked for nothing that needs a token."""
    from manager.cli.client import RequestFailed
    from manager.diagnosis.surroundings import ManagerAnswers

    with session.connect(url) as manager:
        try:
            ahead_seconds = _ahead(manager.date(), session.clock.now())
            manager.check_ready()
            return ManagerAnswers(
                url,
                ahead_seconds=ahead_seconds,
                states={view.id: (view.state.value, view.state_reason) for view in manager.views()},
                webhooks=_failing(manager),
                pending=_pending(manager),
            )
        except RequestFailed as error:
            return ManagerAnswers(url, trouble=f"is not well: {error.detail}")


def _pending(manager: ManagerClient) -> tuple[str, ...]:
    from manager.cli.client import RequestFailed

    try:
        return manager.parse_diff(manager.config_diff()).pending
    except RequestFailed:
        # The file is wrong, which the check of the config tells.
        return ()


def _failing(manager: ManagerClient) -> dict[str, str]:
    views = manager.parse_webhooks(manager.webhooks().get("webhooks"))
    return {
        view.name: (view.last_delivery and view.last_delivery.error) or "its attempts fail"
        for view in views
        if view.consecutive_failures
    }


def _ahead(date: str | None, now: datetime) -> float:
    """Seconds by which an HTTP date is later than `now`; 0 where it cannot be read."""
    try:
        return (parsedate_to_datetime(date or "") - now).total_seconds()
    except (TypeError, ValueError):
        return 0.0
