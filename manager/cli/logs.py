"""`logs`: what agents have written, merged by time, and with `-f` what they write."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manager.cli.following import follow as follow_manager
from manager.cli.options import AgentsArgument, AsJson, Follow, Url
from manager.cli.output import print_error, print_json_line, print_line
from manager.cli.session import Session, session_of
from manager.moments import WRITTEN

if TYPE_CHECKING:
    from manager.cli.client import JsonObject, ManagerClient

DEFAULT_LINES = 100
MOST_LINES = 10_000


def _text_option(name: str, metavar: str, text: str) -> Any:
    return typer.Option(name, metavar=metavar, help=text, show_default=False)


Lines = Annotated[
    int | None,
    typer.Option(
        "--lines",
        "-n",
        min=0,
        max=MOST_LINES,
        help=f"How many of the newest lines; {DEFAULT_LINES}, or with --since all.",
        show_default=False,
    ),
]
Since = Annotated[str | None, _text_option("--since", "WHEN", f"Only from then on: {WRITTEN}.")]
Until = Annotated[str | None, _text_option("--until", "WHEN", f"Only until then: {WRITTEN}.")]
Level = Annotated[
    str | None, _text_option("--level", "LEVEL", "Only this and graver: debug, info, warning, error, critical.")
]
Grep = Annotated[str | None, _text_option("--grep", "REGEX", "Only lines in which this regular expression is found.")]
Text = Annotated[str | None, _text_option("--text", "TEXT", "Only lines with this text, in upper or lower case.")]
RequestId = Annotated[str | None, _text_option("--request", "ID", "Only lines of the request with this id.")]
TraceId = Annotated[str | None, _text_option("--trace", "ID", "Only lines of the trace with this id.")]
TaskId = Annotated[str | None, _text_option("--task", "ID", "Only lines of the task with this id.")]
InstanceId = Annotated[str | None, _text_option("--instance", "ID", "Only lines of this instance.")]


def logs(
    context: typer.Context,
    ids: AgentsArgument = None,
    lines: Lines = None,
    follow: Follow = False,
    since: Since = None,
    until: Until = None,
    level: Level = None,
    grep: Grep = None,
    text: Text = None,
    request: RequestId = None,
    trace: TraceId = None,
    task: TaskId = None,
    instance: InstanceId = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Print agents' logs by time: of those named, else of all. JSON is one object per line."""
    session = session_of(context)
    filters = {"since": since, "until": until, "level": level, "regex": grep, "text": text}
    filters |= {"request": request, "trace": trace, "task": task, "instance": instance}
    chosen = list(dict.fromkeys(ids or []))
    reading = _Reading(chosen, filters, lines, _Printer(session, as_json=as_json, named=len(chosen) != 1))
    if follow:
        follow_manager(session, url, reading.follow)
    with session.connect(url) as manager:
        reading.once(manager)


class _Printer:
    def __init__(self, session: Session, *, as_json: bool, named: bool) -> None:
        self._as_json = as_json
        self._named = named
        self._colored = sys.stdout.isatty() and not session.environ.get("NO_COLOR")

    def entries(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """One line each."""
        from manager.cli.log_lines import rendered

        for entry in entries:
            if self._as_json:
                print_json_line(entry)
            else:
                print_line(rendered(entry, named=self._named, colored=self._colored))


class _Reading:
    """What is asked for, and how far it has been printed."""

    def __init__(self, ids: Sequence[str], filters: Mapping[str, Any], lines: int | None, printer: _Printer) -> None:
        self._ids = ids
        self._filters = filters
        self._lines = lines
        self._printer = printer
        self._cursor: str | None = None

    def once(self, manager: ManagerClient) -> None:
        """Print what there is."""
        if self._filters["since"] and self._lines is None:
            self._print_all(manager)
        elif self._lines != 0:
            self._print_newest(manager, DEFAULT_LINES if self._lines is None else self._lines)

    def follow(self, manager: ManagerClient) -> None:
        """One stream to its end; the manager ends it when it stops."""
        if self._cursor is None and self._filters["since"] and self._lines is None:
            self._print_all(manager)
        lines = DEFAULT_LINES if self._lines is None else self._lines
        query = {**self._filters, "lines": lines, "cursor": self._cursor}
        for page in manager.log_pages(self._ids, query):
            self._print(page)

    def _print_all(self, manager: ManagerClient) -> None:
        """Oldest first, as they are found, however many; the cursor is then where they end."""
        while True:
            query = {**self._filters, "lines": MOST_LINES, "cursor": self._cursor, "order": "oldest", "follow": "false"}
            found = 0
            for page in manager.log_pages(self._ids, query):
                found += len(page.get("entries", ()))
                self._print(page)
            if found < MOST_LINES:
                return

    def _print_newest(self, manager: ManagerClient, lines: int) -> None:
        """They are found the newest first."""
        query = {**self._filters, "lines": lines, "follow": "false"}
        pages = list(manager.log_pages(self._ids, query))
        for page in reversed(pages):
            self._print(page)
        if len(self._ids) == 1 and (note := manager.log_note(self._ids[0])):
            print_error(note)

    def _print(self, page: JsonObject) -> None:
        self._printer.entries(page.get("entries", []))
        self._cursor = page["newer"]
        if page.get("note"):
            print_error(str(page["note"]))
