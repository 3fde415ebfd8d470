"""`execute`: one task for one agent."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manager.cli.options import AgentArgument, AsJson, Url
from manager.cli.output import duration, print_error, print_json, print_json_line, print_line, printable
from manager.cli.session import session_of
from manager.errors import ManagerError

if TYPE_CHECKING:
    from manager.cli.client import JsonObject, ManagerClient
    from manager.cli.sse import ServerSentEvent

Parameters = Annotated[
    str,
    typer.Argument(metavar="JSON", help="The parameters, a JSON object; - reads it from stdin.", show_default=False),
]
Stream = Annotated[bool, typer.Option("--stream", help="Print each chunk as it comes.")]


def execute(
    context: typer.Context,
    agent: AgentArgument,
    parameters: Parameters,
    stream: Stream = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Run one task and print its result."""
    given = _parse(sys.stdin.read() if parameters == "-" else parameters)
    with session_of(context).connect(url) as manager:
        if stream:
            _print_stream(manager, agent, given, as_json=as_json)
        else:
            _print_answer(_answer(manager, agent, given), as_json=as_json)


def _answer(manager: ManagerClient, agent: str, parameters: JsonObject) -> JsonObject:
    from manager.cli.client import RequestFailed

    try:
        return manager.execute(agent, parameters)
    except RequestFailed as failure:
        if failure.task_id is None:
            raise
        raise ManagerError(f"{failure.detail}\n{_where_its_log_is(agent, failure.task_id)}") from None


def _parse(text: str) -> JsonObject:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"""is not JSON ({error}); write an object such as '{{"goal": "tea"}}'.""", param_hint="JSON"
        ) from None
    if not isinstance(value, dict):
        raise typer.BadParameter(
            f"""must be an object such as '{{"goal": "tea"}}', not {text.strip()[:40]!r}.""", param_hint="JSON"
        )
    return value


def _print_answer(answer: JsonObject, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    result = answer.get("result")
    print_line(printable(result) if isinstance(result, str) else json.dumps(result, indent=2, ensure_ascii=False))
    took = duration(float(answer.get("duration_ms", 0)) / 1000)
    print_error(f"Task {answer.get('task_id')} done in {took}")


def _print_stream(manager: ManagerClient, agent: str, parameters: JsonObject, *, as_json: bool) -> None:
    with manager.execute_stream(agent, parameters) as events:
        for event in events:
            data = _data_of(agent, event)
            if event.event == "error":
                raise ManagerError(_failure_of(agent, data))
            if as_json:
                print_json_line({"event": event.event, "data": data})
            elif event.event == "chunk":
                print_line(printable(data) if isinstance(data, str) else json.dumps(data, ensure_ascii=False))
            elif event.event == "result":
                _print_answer(data, as_json=False)
            if event.event == "result":
                return
    raise ManagerError(f"The stream of {agent} ended before its result; look into `agent-manager logs {agent}`.")


def _data_of(agent: str, event: ServerSentEvent) -> Any:
    try:
        return json.loads(event.data)
    except ValueError:
        raise ManagerError(
            f"The stream of {agent} holds something that is not JSON; its adapter must be repaired."
        ) from None


def _failure_of(agent: str, problem: Any) -> str:
    document = problem if isinstance(problem, dict) else {}
    detail, task_id = str(document.get("detail") or problem), document.get("task_id")
    return f"{detail}\n{_where_its_log_is(agent, task_id)}" if task_id else detail


def _where_its_log_is(agent: str, task_id: object) -> str:
    return f"Its lines: agent-manager logs {agent} --task {task_id}"
