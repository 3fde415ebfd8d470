from __future__ import annotations

from typing import Any

from agent_service.contract import DefinitionSummary, ThreadEntry, ThreadPage
from tests.unit.web.fakes import NOW
from web.definition_rows import definition_text, thread_rows
from web.tones import Tone

SERVER: dict[str, Any] = {
    "name": "files",
    "transport": "stdio",
    "fail_mode": "open",
    "state": "ready",
    "tools": 3,
    "last_error": None,
    "since": NOW,
    "ping_ms": 4.2,
    "reconnects": 0,
    "calls_total": 7,
    "calls_failed": 0,
    "warnings": [],
}


def summary(*servers: dict[str, Any], **changes: Any) -> DefinitionSummary:
    base: dict[str, Any] = {
        "model": {"provider": "openai", "model": "gpt", "base_url": None},
        "memory": "none",
        "servers": list(servers),
        "structured_output": False,
        "guardrails": False,
        "revision": 0,
    }
    return DefinitionSummary.model_validate(base | changes)


def test_model_and_traits_are_told_in_words() -> None:
    model = {"provider": "openai", "model": "gpt", "base_url": "http://here"}
    told = definition_text(
        summary(model=model, memory="thread", structured_output=True, guardrails=True, revision=2), NOW
    )
    assert told.model == "openai gpt at http://here"
    assert told.traits == (
        "remembers conversations",
        "answers by a schema",
        "guardrails",
        "reloaded 2 times since its start",
    )


def test_a_server_that_is_well_says_how_it_is_used() -> None:
    server = definition_text(summary(SERVER | {"calls_failed": 2}), NOW).servers[0]
    assert (server.tone, server.ping, server.calls) == (Tone.GOOD, "4.2 ms", "7 calls, 2 failed")
    assert server.trouble == ()


def test_a_server_that_is_away_says_why_and_what_it_means() -> None:
    away = SERVER | {"state": "unavailable", "last_error": "refused", "warnings": ["tool x has no schema"]}
    open_one = definition_text(summary(away), NOW).servers[0]
    closed = definition_text(summary(away | {"fail_mode": "closed"}), NOW).servers[0]
    assert open_one.tone is Tone.BAD
    assert open_one.trouble == ("refused; the agent works without it", "tool x has no schema")
    assert closed.trouble[0] == "refused; the agent does not start without it"


def test_an_error_that_is_over_is_not_told() -> None:
    assert definition_text(summary(SERVER | {"last_error": "was away"}), NOW).servers[0].trouble == ()


def test_conversations_are_told_with_their_newest_step() -> None:
    rows = thread_rows(ThreadPage(threads=[ThreadEntry(thread_id="monday", updated_at=NOW)], next=None), NOW)
    assert [(row.id, row.updated.text) for row in rows] == [("monday", "0 s")]
