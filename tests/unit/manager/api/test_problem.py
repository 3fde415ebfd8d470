"""Every error that can reach a client has a status of its own kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from manager import errors
from manager.api.problem import STATUS_OF, Problems, error_response, problem_of, status_of
from manager.errors import AdapterDied, ConfigError, ConfigIssue, ManagerError, NotReady, Overloaded, StateConflict

# These end the process or the start of one; no request ever sees them.
NEVER_OVER_HTTP = {errors.SpawnFailed, errors.StartImpossible, errors.StateDirectoryBusy}


def test_every_error_that_a_request_can_meet_has_a_status() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ManagerError)}
    assert kinds - {ManagerError} - NEVER_OVER_HTTP == set(STATUS_OF)


def test_a_subclass_answers_like_its_nearest_relative() -> None:
    class AdapterRefused(AdapterDied):
        pass

    assert status_of(AdapterRefused("no")) == 502


def test_a_problem_names_agent_and_state_and_leaves_out_what_is_unknown() -> None:
    response = error_response(StateConflict("echo is paused; resume it.", agent_id="echo", state="paused"))
    assert response.status_code == 409
    assert response.headers["content-type"] == "application/problem+json"
    assert json.loads(bytes(response.body)) == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "echo is paused; resume it.",
        "agent_id": "echo",
        "state": "paused",
    }
    assert "agent_id" not in problem_of(StateConflict("x")).model_dump(exclude_none=True)


@pytest.mark.parametrize(
    ("error", "status"),
    [(Overloaded("Full.", retry_after_seconds=7), 429), (NotReady("Not yet.", retry_after_seconds=7), 503)],
)
def test_who_may_try_again_is_told_when(error: ManagerError, status: int) -> None:
    response = error_response(error)
    assert (response.status_code, response.headers["retry-after"]) == (status, "7")


def test_a_wrong_config_is_told_error_by_error() -> None:
    issues = [ConfigIssue("agents[0].id", '"A"', "lower case is allowed"), ConfigIssue("extra", "a key", "remove it")]
    document = json.loads(bytes(error_response(ConfigError("agents.config.json", issues)).body))
    assert document["status"] == 422
    assert document["detail"].startswith("agents.config.json has 2 errors, so nothing was changed")
    assert document["errors"] == [
        {"path": "agents[0].id", "found": '"A"', "allowed": "lower case is allowed"},
        {"path": "extra", "found": "a key", "allowed": "remove it"},
    ]


def test_what_may_be_tried_again_says_when() -> None:
    assert error_response(NotReady("later", retry_after_seconds=7)).headers["retry-after"] == "7"


@pytest.mark.parametrize("kind", sorted(STATUS_OF, key=lambda kind: kind.__name__))
def test_statuses_are_errors(kind: type[ManagerError]) -> None:
    assert 400 <= STATUS_OF[kind] < 600


def test_the_managers_own_failure_names_the_log_that_is_configured() -> None:
    answer = Problems(Path("/var/log/fleet/manager.log")).internal()
    assert "/var/log/fleet/manager.log has the traceback" in json.loads(bytes(answer.body))["detail"]
