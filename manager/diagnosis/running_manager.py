"""What a running manager says of itself, its agents and its webhooks."""

from __future__ import annotations

from collections.abc import Iterator

from manager.diagnosis.finding import Finding, error, warning, well
from manager.diagnosis.surroundings import ManagerAnswers, Surroundings

_ILL = ("failed", "unresponsive", "lost", "backoff")


def check_manager(around: Surroundings) -> Iterator[Finding]:
    """Whether one runs, answers, and is content."""
    answers = around.answers
    if answers is None:
        yield well("manager", "No manager runs here; start one with `agent-manager up`")
    elif answers.trouble is not None:
        remedy = "see its output and logs/manager.log; `agent-manager down`, or end its process, and its agents go on"
        yield error("manager", f"The manager at {answers.url} {answers.trouble}", remedy)
    else:
        yield well("manager", f"The manager at {answers.url} answers and is ready")
        yield from _agents(answers)
        yield from _webhooks(answers)
        yield from _config(answers)


def _agents(answers: ManagerAnswers) -> Iterator[Finding]:
    for agent_id, (state, reason) in (answers.states or {}).items():
        if state in _ILL:
            message = f"{agent_id} is {state}" + (f": {reason}" if reason else "")
            yield warning(
                "agents", message, f"`agent-manager status {agent_id}` and `agent-manager logs {agent_id}` tell more"
            )


def _webhooks(answers: ManagerAnswers) -> Iterator[Finding]:
    for name, trouble in (answers.webhooks or {}).items():
        yield warning(
            "webhooks", f"{name} does not take notifications: {trouble}", f"`agent-manager webhooks test {name}`"
        )


def _config(answers: ManagerAnswers) -> Iterator[Finding]:
    if answers.pending:
        message = f"Not in force until the manager is restarted: {', '.join(answers.pending)}"
        yield warning("manager", message, "`agent-manager down --leave-agents`, then `agent-manager up`")
