from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from manager.errors import ConfigError, ConfigIssue, StoreUnavailable
from manager.settings import RuntimeSettings
from manager.specs.fleet_config import FleetConfig
from manager.specs.models import AgentConfig
from manager.webhook_settings import WebhookSettings
from tests.unit.web.asking import get, post, text_of
from tests.unit.web.fakes import World
from tests.unit.web.sources import CONFIG, delivery, webhook


def config(*agents: dict[str, Any], **runtime: Any) -> FleetConfig:
    found = tuple(AgentConfig.model_validate(agent) for agent in agents)
    return FleetConfig(RuntimeSettings(**runtime), found, CONFIG, CONFIG.parent)


def world(*agents: dict[str, Any], found: FleetConfig | ConfigError | None = None) -> World:
    made = World()
    made.reloader.running = config(*agents)
    made.reloader.found = found
    return made


def fingerprint(page: str) -> str:
    return re.search(r'name="plan" value="([0-9a-f]+)"', page)[1]


def test_the_config_in_force_is_shown_without_secrets() -> None:
    page = get(world({"id": "planner", "env": {"API_KEY": "s3cret", "TEAM_KEY": "env:TEAM"}}), "/config")
    assert page.status_code == 200
    assert "env:TEAM" in page.text and "s3cret" not in page.text
    assert "/project/agents.config.json" in page.text


def test_a_file_that_says_what_runs_offers_no_reload() -> None:
    page = get(world({"id": "planner"}), "/config")
    assert "The file says what runs" in page.text and "Reload</button>" not in page.text


def test_the_plan_is_shown_before_the_button_and_taken_by_it() -> None:
    changed = world({"id": "planner"}, found=config({"id": "planner", "port": 8100}, {"id": "late"}))
    page = get(changed, "/config")
    assert "What a reload would do 2 steps" in text_of(page)
    assert "late is added" in text_of(page)
    assert changed.reloader.applied == []
    answer = post(changed, "/config/reload", {"plan": fingerprint(page.text)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/config?reloaded")
    assert changed.reloader.applied == ["dashboard"]
    assert "Reloaded." in text_of(get(changed, "/config?reloaded"))


def test_a_file_that_has_changed_since_the_plan_was_seen_is_not_taken() -> None:
    changed = world({"id": "planner"}, found=config({"id": "planner", "port": 8100}))
    seen = fingerprint(get(changed, "/config").text)
    changed.reloader.found = config({"id": "planner", "port": 9999})
    answer = post(changed, "/config/reload", {"plan": seen})
    assert answer.status_code == 409 and changed.reloader.applied == []
    assert "has changed since you saw this plan" in answer.text and "9999" in answer.text


def test_a_press_without_a_plan_changes_nothing() -> None:
    changed = world({"id": "planner"}, found=config())
    assert post(changed, "/config/reload", {}).status_code == 409
    assert changed.reloader.applied == []


def test_a_wrong_file_is_told_mistake_by_mistake_and_cannot_be_reloaded() -> None:
    wrong = ConfigError("agents.config.json", [ConfigIssue("agents[0].port", '"eighty"', "write a number")])
    broken = world({"id": "planner"}, found=wrong)
    page = get(broken, "/config")
    assert page.status_code == 200
    assert "agents[0].port &#34;eighty&#34; write a number" in text_of(page)
    assert "Reload</button>" not in page.text and "config-of-planner" in page.text
    assert post(broken, "/config/reload", {"plan": "x"}).status_code == 400


def test_an_empty_config_says_how_to_begin() -> None:
    assert "agent-manager init" in get(world(), "/config").text


def test_a_sidecar_is_marked() -> None:
    sidecar = {"id": "llm", "command": ["serve"], "probe": {"http": "/health"}}
    assert "sidecar" in text_of(get(world(sidecar), "/config"))


def test_what_a_config_says_is_text_and_not_markup() -> None:
    page = get(world({"id": "planner", "description": "<script>alert(1)</script>"}), "/config")
    assert "<script>alert" not in page.text


def test_a_webhook_is_shown_and_sent_a_test() -> None:
    told = world({"id": "planner"})
    told.webhooks.known = [webhook("oncall", last_delivery=delivery())]
    page = text_of(get(told, "/config"))
    assert "oncall env:ONCALL_URL failed lost of all agents and the manager failed delivered 1 min ago" in page
    answer = post(told, "/config/webhook-test", {"webhook": "oncall"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/config?tested=oncall")
    for _ in ("once", "and again"):
        assert "The test arrived. oncall answered 204 in 12 ms." in text_of(get(told, "/config?tested=oncall"))
    assert told.webhooks.tested == ["oncall"]


def test_a_webhook_stands_on_the_page_once() -> None:
    told = world()
    settings = {"name": "oncall", "url": "env:ONCALL_URL", "secret": "env:ONCALL_SECRET"}
    told.reloader.running = config(webhooks=(WebhookSettings.model_validate(settings),))
    told.webhooks.known = [webhook("oncall")]
    page = text_of(get(told, "/config"))
    assert page.count("env:ONCALL_URL") == page.count("signed with env:ONCALL_SECRET") == 1
    assert page.count("env:ONCALL_SECRET") == 1 and "webhooks[0]" not in page


def test_a_test_that_does_not_arrive_says_why() -> None:
    deaf = world({"id": "planner"})
    deaf.webhooks.known = [webhook("on call")]
    deaf.webhooks.result = {"state": "given_up", "status": None, "error": "It did not answer."}
    answer = post(deaf, "/config/webhook-test", {"webhook": "on call"})
    page = get(deaf, answer.headers["location"])
    assert "The test did not arrive. on call: It did not answer." in text_of(page)


def test_an_address_alone_says_nothing_of_a_test() -> None:
    quiet = world({"id": "planner"})
    quiet.webhooks.known = [webhook("oncall")]
    quiet.webhooks.sent = [delivery()]
    for name in ("oncall", "gone", "<b>forged"):
        page = get(quiet, f"/config?tested={name}")
        assert page.status_code == 200 and 'class="told' not in page.text and "forged" not in page.text
    quiet.webhooks.refusal = StoreUnavailable("The disk is full; make room.")
    assert get(quiet, "/config?tested=oncall").status_code == 200


def test_what_waits_for_a_restart_of_the_manager_is_no_reload_any_more() -> None:
    partly = world({"id": "planner"}, found=config({"id": "planner"}, heartbeat_ttl_seconds=60))
    page = get(partly, "/config?reloaded")
    assert "Reloaded. heartbeatTtlSeconds waits for a restart of the manager." in text_of(page)
    assert "What waits for a restart of the manager 1 step" in text_of(page)
    assert "Reload</button>" not in page.text and "The file is in force" not in page.text


def test_a_file_that_was_saved_since_is_not_called_in_force() -> None:
    newer = world({"id": "planner"}, found=config({"id": "planner"}, {"id": "late"}))
    page = get(newer, "/config?reloaded").text
    assert "The file is in force" not in page and "Reload</button>" in page


def test_without_webhooks_the_page_says_how_to_have_one() -> None:
    none = world({"id": "planner"})
    assert "Nobody is told when an agent fails" in text_of(get(none, "/config"))
    answer = post(none, "/config/webhook-test", {"webhook": "gone"})
    assert answer.status_code == 404 and "There is no webhook" in text_of(answer)


def test_webhooks_that_cannot_be_read_leave_the_rest_of_the_page() -> None:
    full = world({"id": "planner"})
    full.webhooks.refusal = StoreUnavailable("The disk is full; make room.")
    page = get(full, "/config")
    assert page.status_code == 200 and "The disk is full; make room." in text_of(page) and "planner" in page.text


def test_a_stranger_neither_sees_nor_reloads() -> None:
    guarded = World(tokens=("secret",))
    guarded.reloader.found = replace(guarded.reloader.running, agents=(AgentConfig(id="x"),))
    assert get(guarded, "/config").status_code == 401
    assert post(guarded, "/config/reload", {"plan": "x"}).status_code == 401
    assert post(guarded, "/config/webhook-test", {"webhook": "oncall"}).status_code == 401
    assert guarded.reloader.applied == []
